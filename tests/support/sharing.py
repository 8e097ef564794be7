"""Tests that share something costly run in one process of a parallel run, or each process would make it again."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SHARING = (
    "tests/api/http/framework/test_conformance.py",
    "tests/api/http/framework/test_every_identity.py",
    "tests/api/http/framework/test_examples.py",
    "tests/api/local/test_postgres.py",
    "tests/api/server/",
    "tests/architecture/",
    "tests/monitoring/test_rules_and_boards.py",
    "tests/payments/erasure/test_purge_plans.py",
    "tests/payments/exceptions/test_case_plans.py",
    "tests/performance/",
    "tests/projections/test_search_plans.py",
    "tests/scenarios/test_flask_shop.py",
    "tests/scenarios/test_http_shop.py",
    "tests/security/test_authorisation_matrix.py",
    "tests/security/test_cross_site.py",
    "tests/security/test_payment_links.py",
    "tests/security/test_reads_of_personal_data.py",
    "tests/security/test_server_checkouts.py",
    "tests/security/test_slow_clients.py",
    "tests/upgrade/test_upgrade.py",
)
"""Folders and files whose modules make a browser, a server, an instance, a store or a report once, in seconds."""

TOGETHER = ("tests/api/pages/sdk/", "tests/api/pages/")
"""Folders whose modules share a browser; the tests of a folder in another are apart from the other's."""


class SharingScheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Sends such a folder or module to one process as a whole, the larger first, and then each other test."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        for folder in TOGETHER:
            if file.startswith(folder):
                return folder
        return file if file.startswith(SHARING) else nodeid

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forget what is done, which is looked through at the end of each test: thousands, and so it grew."""
        super().mark_test_complete(node, item_index, duration)
        assigned = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(assigned[scope].values()):
            del assigned[scope]
