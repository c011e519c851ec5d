"""Readings of one picture agree in spite of slips; pages of one template do not, however much they share."""

from __future__ import annotations

import hashlib

import pytest

from filters.duplicate_words import numbers_of, words_agree, words_equal

INVOICE = """Northwind Stationery Ltd
14 Mill Lane, Leeds LS2 9JT, United Kingdom
INVOICE
Number {number}
Bill to:
{customer}
Copy paper, white, box of five reams
{paper}
Ballpoint pens, blue, pack of fifty
{pens}
Envelopes, window, box of one thousand
{envelopes}
Toner cartridge, black
Total
{total}
Please pay within thirty days of the date of this invoice to the account named below.
Goods remain the property of Northwind Stationery until they are paid for in full.
Questions about this invoice are answered by our accounts department every weekday.
Bank of Leeds, sort code 20-30-40, account 12345678. Thank you for your business."""

FIRST = INVOICE.format(
    number="48213",
    customer="Mrs. Eleanor Whitfield, York",
    paper="12\n143.88",
    pens="3\n36.60",
    envelopes="5\n112.25",
    total="626.53",
)
OTHER_AMOUNTS = INVOICE.format(
    number="50977",
    customer="Mrs. Eleanor Whitfield, York",
    paper="31\n371.69",
    pens="8\n97.60",
    envelopes="1\n22.45",
    total="1080.39",
)
OTHER_CUSTOMER = FIRST.replace("Mrs. Eleanor Whitfield, York", "Mr. Rajesh Banerjee, Bristol")

POSTER = """JAZZ NIGHT
at the Harbour Club
{artist}
{day}
Doors open at seven, music begins at eight o'clock
Tickets twelve euros in advance, fifteen at the door
Harbour Club, Kaistrasse 14, Hamburg, first floor
Supported by the city council and friends of jazz
www.harbourclub.example - telephone 040 123 456"""
ANNA = POSTER.format(artist="ANNA LINDQVIST TRIO", day="Friday 12 May")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(FIRST, OTHER_AMOUNTS, id="invoices of one customer"),
        pytest.param(FIRST, OTHER_CUSTOMER, id="invoices of one amount"),
        pytest.param(ANNA, POSTER.format(artist="MARCUS BELL QUINTET", day="Sunday 30 June"), id="posters of one club"),
        pytest.param(
            ANNA, POSTER.format(artist="ANNA LINDQVIST TRIO", day="Friday 26 May"), id="posters of one artist"
        ),
        pytest.param(
            "Quarterly sales in Europe\nRevenue rose by nine percent\nGermany leads with forty stores",
            "Quarterly sales in Africa\nRevenue fell by four percent\nNigeria leads with thirty shops",
            id="slides of one deck",
        ),
        pytest.param("音乐节开幕式门票", "电影展闭幕红毯券", id="no spaces"),
        pytest.param("FREE BEER TOMORROW", "GAME OVER RONALD", id="captions of one picture"),
    ],
)
def test_pages_of_one_template_do_not_agree(one: str, other: str) -> None:
    assert not words_agree(one, other)
    assert not words_agree(other, one)
    assert not words_equal(one, other)


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(FIRST, id="the same"),
        pytest.param(FIRST.replace("48213", "48218").replace("Whitfield", "Whitf1eld"), id="a digit misread"),
        pytest.param(FIRST.replace("143.88", "143,88").replace("36.60", "3660"), id="separators misread"),
        pytest.param(
            FIRST.replace("Questions", "Ouestlons").replace("department", "departrnent"), id="letters misread"
        ),
        pytest.param(FIRST.replace("Number 48213", "Number48213"), id="run together"),
        pytest.param("\n".join(FIRST.splitlines()[3:-1]), id="lines lost"),
        pytest.param(FIRST + "\nPAID 17 March\nWhitfield accounts, received with thanks", id="stamped"),
    ],
)
def test_readings_of_one_page_agree(reading: str) -> None:
    assert words_agree(FIRST, reading)
    assert words_agree(reading, FIRST)


def test_a_number_may_be_misread_in_one_digit_of_four_and_is_another_in_two() -> None:
    text = "Harbour festival with music from noon to midnight, season of 2024"
    assert words_agree(text, text.replace("2024", "2029"))
    assert not words_agree(text, text.replace("2024", "2035"))


def test_a_number_in_one_digit_beside_other_names_is_another() -> None:
    """Two planted posters whose pixels differ by two words and a date: as many as copies read badly may."""
    one = "URBAN\nCONCERT\nRecital with Paula Reyes\nBroken water limits the water signal\nKyoto, 15 October 2026"
    other = "MODERN\nCONCERT\nRecital with Paula Reyes\nBroken water limits the water signal\nQuito, 3 December 2029"
    assert not words_agree(one, other)
    assert words_agree(one, other.replace("2029", "2026"))


def test_slips_add_up_on_a_table_of_small_digits() -> None:
    """As a half-size copy of a real table was read: three of its numbers are alone, on both sides."""
    rows = "\n".join(f"model{n} {n}3.{n}7 ({n}8) {n}1.4{n} ({n}9) 5{n}2" for n in range(1, 9))
    assert words_agree(rows + "\n-0.0455 -0.2470 -0.2044", rows + "\n1234 -0.321 56")


def test_words_forgive_the_reader_and_overlays() -> None:
    text = "annual meeting of the garden society, market hall, second floor, eight of march, all members welcome"
    assert words_equal(text, text.replace("garden", "gardem"))
    assert words_agree(text, text.replace("market hall", "") + " copyright example agency")
    assert words_agree("音乐节开幕式", "音乐节开幕式")


def test_other_numbers_are_never_equal_words() -> None:
    assert words_equal(ANNA, ANNA.replace("Tickets", "Tlckets"))
    assert not words_equal(ANNA, ANNA.replace("123", "789"))


def test_numbers_are_what_digits_say_whatever_separates_them() -> None:
    assert numbers_of("1,080.39 7 20-30-40 40")["108039"] == 1
    assert set(numbers_of("1,080.39 7 20-30-40 40")) == {"108039", "20", "30", "40"}


def test_a_few_names_part_long_pages_that_were_read_well_and_not_those_that_were_read_badly() -> None:
    clauses = "the tenant shall keep the premises clean and pay the monthly amount before the fifth working day " * 12
    one, other = clauses + "Whitfield Abernathy Larkspur", clauses + "Banerjee Okonkwo Thornhill"
    assert not words_agree(one, other)
    assert words_agree(one, other.replace("premises", "prernises").replace("monthly", "monthiy"))


def test_pages_without_a_common_word_do_not_agree() -> None:
    """Each word is compared with few others: the answer stands after a handful."""
    one, other = (" ".join(hashlib.sha256(f"{side}{n}".encode()).hexdigest()[:9] for n in range(900)) for side in "xy")
    assert not words_agree(one, other)
