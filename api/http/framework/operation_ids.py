"""The `operationId` of every operation, which generated clients name their functions by: it never changes."""

_NAMES = {
    "sessions.show_one_session": "showSession",
    "sessions.show_status": "showSessionStatus",
    "sessions.stream_status": "streamSessionStatus",
    "sessions.show_events": "showSessionEvents",
    "checkouts.show_one_checkout": "showCheckout",
    "callbacks.take_callback": "receiveTransactionCallback",
    "callbacks.take_callback_1": "receiveTransactionCallbackWithoutToken",
    "callbacks.take_callback_2": "receiveStkCallback",
    "callbacks.take_callback_3": "receiveStkCallbackWithoutToken",
    "c2b.validate_payment": "validateC2bPayment",
    "c2b.confirm_payment": "confirmC2bPayment",
    "results.take_result": "receiveResult",
    "results.take_timeout": "receiveTimeout",
    "catalogue.show_one_listing": "showListing",
    "cart.show_own_cart": "showCart",
    "cart.put_item": "putCartItem",
    "cart.delete_item": "deleteCartItem",
    "orders.show_own_order": "showOrder",
    "reports.audit_session": "auditSession",
    "blocks.list_blocks": "listSignedBlocks",
    "audit_payments.find": "findPayments",
    "audit_payments.show_one": "showPayment",
    "audit_payments.show_each_step": "showPaymentSteps",
    "audit_events.list_events": "readLog",
    "audit_log.list_entries": "listAuditLog",
    "audit_books.list_entries": "listJournalEntries",
    "audit_books.list_differences": "listReceiptDifferences",
    "audit_books.show_close": "showDayClose",
    "refunds.show_one_refund": "showRefund",
    "refunds.record_return": "recordRefundReturned",
    "refunds.record_not_sent": "recordRefundNotSent",
    "reconciliations.list_imports": "listStatementImports",
    "reconciliations.show_import": "showStatementImport",
    "webhook_endpoints.add_endpoint": "addWebhookEndpoint",
    "webhook_endpoints.list_endpoints": "listWebhookEndpoints",
    "webhook_endpoints.show_one_endpoint": "showWebhookEndpoint",
    "webhook_endpoints.change_endpoint": "changeWebhookEndpoint",
    "webhook_endpoints.delete_endpoint": "deleteWebhookEndpoint",
    "webhook_endpoints.rotate_secret": "rotateWebhookSecret",
    "webhook_endpoints.list_deliveries": "listWebhookDeliveries",
    "webhook_endpoints.redeliver": "redeliverWebhooks",
    "operations.healthz": "showHealth",
    "operations.readyz": "showReadiness",
    "operations.show_metrics": "showProcessMetrics",
}
"""Where the view's own name would not be the only one of its kind, or says less than it does beside its resource."""


def operation_id(endpoint: str) -> str:
    """Return the id of the operation at an endpoint: its view's name in camel case, unless it is named above."""
    _, _, view = endpoint.rpartition(".")
    first, *rest = view.split("_")
    return _NAMES.get(endpoint) or first + "".join(map(str.capitalize, rest))
