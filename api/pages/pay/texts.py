"""The texts of the payment page in English and Swahili: one table, and the choice of a language."""

from collections.abc import Mapping
from datetime import datetime

from werkzeug.datastructures import LanguageAccept

from ledger.clock import NAIROBI

LANGUAGES = {"en": "English", "sw": "Kiswahili"}
DEFAULT = "en"

TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Payment", "Malipo"),
    "pay_to": ("Payment to {shop}", "Malipo kwa {shop}"),
    "skip": ("Skip to the payment", "Ruka hadi kwenye malipo"),
    "language": ("Language", "Lugha"),
    "to_pay": ("To pay", "Kiasi cha kulipa"),
    "lines": ("What you pay for", "Unacholipia"),
    "plain_line": ("Payment", "Malipo"),
    "delivery": ("Delivery", "Usafirishaji"),
    "free": ("Free", "Bure"),
    "rounding": ("Rounding to the shilling", "Kukadiria hadi shilingi"),
    "total": ("Total", "Jumla"),
    "number": ("M-Pesa number", "Nambari ya M-Pesa"),
    "other_number": ("Another M-Pesa number", "Nambari nyingine ya M-Pesa"),
    "own_number": (
        "Leave this empty to use {phone}.",
        "Acha wazi ili kutumia {phone}.",
    ),
    "any_number": (
        "The payment request goes to this phone.",
        "Ombi la malipo litatumwa kwa simu hii.",
    ),
    "pay": ("Pay {amount}", "Lipa {amount}"),
    "send_again": ("Send the request again", "Tuma ombi tena"),
    "more_time": ("I need more time", "Nahitaji muda zaidi"),
    "left": ("Pay by {at}.", "Lipa kabla ya {at}."),
    "left_minutes": ("Time left: {minutes}", "Muda uliobaki: {minutes}"),
    "by_hand": ("Pay without a request", "Lipa bila ombi"),
    "by_hand_how": (
        "On your phone choose M-Pesa, Lipa na M-Pesa, Pay Bill, and enter:",
        "Kwenye simu yako chagua M-Pesa, Lipa na M-Pesa, Pay Bill, kisha weka:",
    ),
    "by_hand_once": (
        "Answer the request or pay so, not both. What is paid twice is refunded.",
        "Jibu ombi au lipa hivi, si vyote viwili. Kinacholipwa mara mbili hurudishwa.",
    ),
    "business": ("Business number", "Nambari ya biashara"),
    "account": ("Account number", "Nambari ya akaunti"),
    "amount": ("Amount", "Kiasi"),
    "receipt": ("M-Pesa receipt", "Risiti ya M-Pesa"),
    "order": ("Order", "Agizo"),
    "copy": ("Copy", "Nakili"),
    "copied": ("Copied", "Imenakiliwa"),
    "print": ("Print", "Chapisha"),
    "back": ("Back to the shop", "Rudi dukani"),
    "start_again": ("Start again", "Anza upya"),
    "trust": (
        "You enter your PIN on your phone only. This page never asks for it.",
        "PIN yako huwekwa kwenye simu yako tu. Ukurasa huu hauiombi kamwe.",
    ),
    "reload": (
        "This page refreshes by itself while you wait.",
        "Ukurasa huu hujisasisha unaposubiri.",
    ),
    "offline": (
        "The connection was lost. We keep trying; your payment is safe.",
        "Mtandao umekatika. Tunaendelea kujaribu; malipo yako yako salama.",
    ),
    # The states: a heading and a sentence each.
    "ready": ("Pay with M-Pesa", "Lipa kwa M-Pesa"),
    "ready_says": (
        "We send a request to your phone; you confirm it with your M-Pesa PIN.",
        "Tutatuma ombi kwa simu yako; utalithibitisha kwa PIN yako ya M-Pesa.",
    ),
    "again": ("It was not paid yet", "Bado hujalipa"),
    "again_says": (
        "No request is on your phone now. Send it again, or to another number.",
        "Hakuna ombi kwenye simu yako sasa. Litume tena, au kwa nambari nyingine.",
    ),
    "moment": ("One moment", "Subiri kidogo"),
    "moment_says": (
        "A request is on its way to your phone, or still open on it. You can send another one soon.",
        "Ombi liko njiani kuja kwa simu yako, au bado liko wazi. Utaweza kutuma lingine baada ya muda mfupi.",
    ),
    "another": ("Not to this number now", "Si kwa nambari hii sasa"),
    "another_says": (
        "Your number gets no request for a while. Pay from another number, or try again later.",
        "Nambari yako haipokei ombi kwa muda. Lipa kwa nambari nyingine, au jaribu tena baadaye.",
    ),
    "paused": ("Payments are paused", "Malipo yamesitishwa kwa muda"),
    "paused_says": (
        "Nothing was sent to your phone. Please try again later.",
        "Hakuna kilichotumwa kwa simu yako. Tafadhali jaribu tena baadaye.",
    ),
    "closed": ("This can no longer be paid", "Malipo haya hayawezi kuendelea"),
    "closed_says": (
        "Nothing was paid, and no other request can be sent. Please start again.",
        "Hakuna kilicholipwa, na ombi lingine haliwezi kutumwa. Tafadhali anza upya.",
    ),
    "phone": ("Check your phone", "Angalia simu yako"),
    "phone_says": (
        "Enter your M-Pesa PIN on your phone to pay {amount}.",
        "Weka PIN yako ya M-Pesa kwenye simu yako ili kulipa {amount}.",
    ),
    "doubt": ("Waiting for M-Pesa", "Tunasubiri M-Pesa"),
    "doubt_says": (
        "M-Pesa has not confirmed yet whether you paid. We keep asking; nothing you paid is lost.",
        "M-Pesa bado haijathibitisha kama umelipa. Tunaendelea kuuliza; ulicholipa hakitapotea.",
    ),
    "doubt_by": (
        "By {at} it is settled, or our staff are looking into it.",
        "Kufikia {at} itakuwa imejulikana, au wahudumu wetu watakuwa wanaishughulikia.",
    ),
    "paid": ("Payment received", "Malipo yamepokelewa"),
    "paid_says": ("Thank you. We are completing your order.", "Asante. Tunakamilisha agizo lako."),
    "done": ("Thank you, it is paid", "Asante, umelipa"),
    "done_says": ("You have paid {amount}.", "Umelipa {amount}."),
    "refund_due": ("Your refund is on its way", "Pesa zako zinarudishwa"),
    "refund_due_says": ("{back} goes back to you.", "{back} zitarudishwa kwako."),
    "refunded": ("Your money has been refunded", "Pesa zako zimerudishwa"),
    "partly_refunded": ("Part of your money has been refunded", "Sehemu ya pesa zako imerudishwa"),
    "refunded_says": ("{back} has gone back to you.", "{back} zimerudishwa kwako."),
    "failed": ("The payment did not go through", "Malipo hayakufaulu"),
    "no_order": ("There is no order", "Hakuna agizo"),
    "expired": ("Time ran out", "Muda umeisha"),
    "expired_says": ("Nothing was paid. You can start again.", "Hakuna kilicholipwa. Unaweza kuanza upya."),
    "other_amount_says": (
        "The amount that was paid is not the one asked for.",
        "Kiasi kilicholipwa si kile kilichoombwa.",
    ),
    "not_found": ("There is no such payment", "Hakuna malipo kama haya"),
    "not_found_says": (
        "The link is incomplete, or the payment no longer exists. Ask the shop for a new one.",
        "Kiungo hakijakamilika, au malipo haya hayapo tena. Omba duka kiungo kipya.",
    ),
    "trouble": ("This did not work", "Hili halikufaulu"),
    "trouble_says": ("Please try again in a moment.", "Tafadhali jaribu tena baada ya muda mfupi."),
    # What a refund is called.
    "DUE": ("Goes back to you", "Zitarudishwa kwako"),
    "APPROVED": ("Goes back to you", "Zitarudishwa kwako"),
    "REFUSED": ("Refund on hold", "Urejeshaji umesimamishwa"),
    "REQUESTED": ("On its way back to you", "Ziko njiani kurudi kwako"),
    "REFUNDED": ("Gone back to you", "Zimerudishwa kwako"),
    # Why a press was refused.
    "INVALID_INPUT": (
        "Write a Kenyan mobile number such as 0712 345 678.",
        "Andika nambari ya simu ya Kenya kama 0712 345 678.",
    ),
    "PHONE_BUSY": (
        "Another M-Pesa request is open on this phone. Answer it, or wait two minutes.",
        "Ombi lingine la M-Pesa liko wazi kwenye simu hii. Lijibu, au subiri dakika mbili.",
    ),
    "PROMPTS_LIMITED": (
        "Too many requests were sent. Please try again later.",
        "Maombi mengi yametumwa. Tafadhali jaribu tena baadaye.",
    ),
    "RATE_LIMITED": (
        "That was too fast. Please wait a minute.",
        "Umebonyeza haraka mno. Tafadhali subiri dakika moja.",
    ),
    "TOO_MANY_ATTEMPTS": (
        "All attempts for this payment were used. Please start again.",
        "Majaribio yote ya malipo haya yametumika. Tafadhali anza upya.",
    ),
    "OUT_OF_STOCK": (
        "Something you chose has just sold out. Nothing was paid.",
        "Ulichochagua kimeisha sasa hivi. Hakuna kilicholipwa.",
    ),
    "PAYMENT_REFUSED": (
        "M-Pesa rejected the request. You were not charged; please contact the shop.",
        "M-Pesa imekataa ombi. Hujatozwa chochote; tafadhali wasiliana na duka.",
    ),
    "MPESA_UNAVAILABLE": (
        "M-Pesa is temporarily unavailable. Please try again in a few minutes.",
        "M-Pesa haipatikani kwa sasa. Tafadhali jaribu tena baada ya dakika chache.",
    ),
    "PAYMENTS_BUSY": (
        "Many people are paying just now. Please try again in a moment.",
        "Watu wengi wanalipa sasa hivi. Tafadhali jaribu tena baada ya muda mfupi.",
    ),
    "PAYMENTS_PAUSED": (
        "Payments are paused. Please try again later.",
        "Malipo yamesitishwa kwa muda. Tafadhali jaribu tena baadaye.",
    ),
    "EXTENSION_LIMIT_REACHED": (
        "You have had all the time there is for this payment.",
        "Muda wote wa malipo haya umetumika.",
    ),
    # Why a payment failed.
    "INSUFFICIENT_FUNDS": (
        "There is not enough money on this M-Pesa account. Top up and try again.",
        "Hakuna pesa za kutosha kwenye akaunti hii ya M-Pesa. Ongeza pesa na ujaribu tena.",
    ),
    "DAILY_LIMIT": (
        "This payment would pass the M-Pesa daily limit. Try again tomorrow.",
        "Malipo haya yangepita kikomo cha siku cha M-Pesa. Jaribu tena kesho.",
    ),
    "REPEATED_TOO_SOON": (
        "M-Pesa takes the same amount from the same number once in two minutes. Wait, then try again.",
        "M-Pesa hukubali kiasi kilekile kutoka nambari ileile mara moja kwa dakika mbili. Subiri, kisha ujaribu tena.",
    ),
    "SYSTEM_BUSY": (
        "M-Pesa is busy. Try again in a few minutes.",
        "M-Pesa ina shughuli nyingi. Jaribu tena baada ya dakika chache.",
    ),
    "SUBSCRIBER_BUSY": (
        "Another M-Pesa request is open on this phone. Finish it, wait two minutes, and try again.",
        "Ombi lingine la M-Pesa liko wazi kwenye simu hii. Limalize, subiri dakika mbili, kisha ujaribu tena.",
    ),
    "CANCELLED_BY_USER": (
        "The payment request was cancelled on the phone.",
        "Ombi la malipo lilighairiwa kwenye simu.",
    ),
    "NO_RESPONSE": (
        "The phone did not answer. Switch it on, keep it at hand, and try again.",
        "Simu haikujibu. Iwashe, iweke karibu, kisha ujaribu tena.",
    ),
    "WRONG_PIN": ("The M-Pesa PIN was wrong.", "PIN ya M-Pesa haikuwa sahihi."),
    "PIN_LOCKED": (
        "The M-Pesa PIN is locked. Call Safaricom customer care (100).",
        "PIN ya M-Pesa imefungwa. Piga simu huduma kwa wateja wa Safaricom (100).",
    ),
    "PROMPT_NOT_DELIVERED": (
        "The payment request could not be shown on the phone.",
        "Ombi la malipo halikuweza kuonyeshwa kwenye simu.",
    ),
    "EXPIRED": ("The payment request ran out of time.", "Muda wa ombi la malipo uliisha."),
    "other_failure": (
        "M-Pesa did not make the payment. Please contact the shop if this happens again.",
        "M-Pesa haikufanya malipo. Tafadhali wasiliana na duka ikiwa itatokea tena.",
    ),
    "no_order_says": (
        "You paid, but the shop could not make the order.",
        "Ulilipa, lakini duka halikuweza kukamilisha agizo.",
    ),
}
"""Each text by its name, or by the code of what it explains: English, then Swahili."""


class Words:
    """The texts in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = list(LANGUAGES).index(language)

    def __call__(self, name: str, **values: str) -> str:
        """Return a text with the values in their places."""
        return TEXTS[name][self._place].format(**values)

    def of_code(self, code: str, otherwise: str) -> str:
        """Return the text of an error code, that of the name `otherwise` for one without."""
        return self(code if code in TEXTS else otherwise)

    def moment(self, at: datetime, now: datetime) -> str:
        """Return a time in Nairobi: that of the day, with the date if it is not today's."""
        local = at.astimezone(NAIROBI)
        day = "" if local.date() == now.astimezone(NAIROBI).date() else f"{local:%d/%m/%Y} "
        return f"{day}{local:%H:%M}"


def words_for(chosen: str | None, accepted: LanguageAccept) -> Words:
    """Return the texts in the language that was chosen, else in the best one that the browser accepts."""
    if chosen in LANGUAGES:
        return Words(chosen)
    return Words(accepted.best_match(list(LANGUAGES), DEFAULT) or DEFAULT)
