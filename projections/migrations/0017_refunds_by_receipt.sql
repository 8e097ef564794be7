-- A payment is found by the receipt that its money went back by.
CREATE INDEX payment_refunds_reversal ON payment_refunds (reversal_receipt) WHERE reversal_receipt IS NOT NULL;
CREATE INDEX payment_refunds_rebuilt_reversal ON payment_refunds_rebuilt (reversal_receipt)
    WHERE reversal_receipt IS NOT NULL;
