"""The shop page for people: catalogue, cart, delivery, the payment, the order. In development only."""

from api.pages.views import pages

__all__ = ["pages"]
