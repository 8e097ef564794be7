"""The settings of the shop: which one it is, and what the built-in one asks for a delivery."""

from dataclasses import dataclass

from api import setting_values as values
from api.setting_values import setting as _setting
from ledger.money import Money


@dataclass(frozen=True, kw_only=True)
class ShopSettings:
    """The shop's part of the settings."""

    daftari_shop: str = _setting(
        values.choice("builtin", "http", "none"),
        "builtin",
        "Who makes the orders of carts: the built-in shop, one of your own behind HTTP, or nobody, where a server "
        "creates all payments.",
    )
    daftari_shop_url: str = _setting(
        values.url, "", "Where your own shop answers Daftari's requests; needed for DAFTARI_SHOP=http."
    )
    daftari_shop_secret: tuple[str, ...] = _setting(
        values.signing_secrets,
        "",
        "The secret that signs requests to your shop, as whsec_…; while you change it both, with a comma between.",
        secret=True,
    )
    daftari_delivery_fee: Money = _setting(values.money, "50.00", "The delivery fee, in shillings.")
    daftari_free_delivery_from: Money = _setting(
        values.money, "1000.00", "Goods worth this much are delivered for free."
    )
    daftari_delivery_surcharge_10kg: Money = _setting(
        values.money, "15.00", "What is added to the fee above 10 kg."
    )
    daftari_delivery_surcharge_20kg: Money = _setting(
        values.money, "30.00", "What is added to the fee above 20 kg, instead of the former."
    )
