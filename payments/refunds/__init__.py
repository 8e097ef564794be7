"""RefundDue to an approved reversal to Refunded."""
