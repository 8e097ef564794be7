"""RefundDue to Refunded.

RefundDue          due: an operator decides (`decisions.py`), or the policy (`approval_policy.py`)
RefundApproved     `reversals.py` requests the reversal from M-Pesa
RefundRequested    M-Pesa reports its result (`reversal_results.py`): Refunded, or RefundFailed: due again
RefundUncertain    without a result in doubt: `status_checks.py` asks M-Pesa, which reports as above
"""
