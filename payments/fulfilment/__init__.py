"""Paid to the order in the shop, or to Failed and RefundDue."""
