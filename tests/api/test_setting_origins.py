from pathlib import Path

import pytest

from api.local.local_settings import local_settings
from tests.api.test_settings import problems_of


def test_origins_are_kept_as_browsers_send_them(tmp_path: Path) -> None:
    given = "https://Shop.Example:443, http://localhost:3000,http://127.0.0.1:80 ,http://[::1]:8080,https://a.b.example:8443"
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_CORS_ORIGINS": given})
    assert settings.daftari_cors_origins == (
        "https://shop.example",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:8080",
        "https://a.b.example:8443",
    )


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("*", "each origin"),
        ("https://*.shop.example", "each origin"),
        ("null", "such as https://shop.example"),
        ("shop.example", "such as https://shop.example"),
        ("https://shop.example/", "without a path"),
        ("https://shop.example/pay", "without a path"),
        ("https://shop.example?", "without a path"),
        ("https://user@shop.example", "such as https://shop.example"),
        ("https://shop.example:", "such as https://shop.example"),
        ("https://shop.example:99999", "such as https://shop.example"),
        ("https://dükä.example", "such as https://shop.example"),
        ("https://a.example https://b.example", "such as https://shop.example"),
        ("http://shop.example", "http only for this machine"),
        ("ftp://shop.example", "such as https://shop.example"),
        (",".join(f"https://{number}.example" for number in range(101)), "100"),
    ],
)
def test_what_is_no_origin_is_refused(origin: str, says: str) -> None:
    [problem] = problems_of(DAFTARI_CORS_ORIGINS=f"https://good.example,{origin}")
    assert problem.startswith("DAFTARI_CORS_ORIGINS ")
    assert says in problem
