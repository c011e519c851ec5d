"""What the world is made of. Every name here is a word of the captions; every value is what the renderer draws.

Level 1 of the world: objects on a grid of nine cells, and words in five ways of writing. Cells, sizes and anchored
relations follow a trial that tiny models learned (our choice after it); the colours keep their distance from one another.
"""

from __future__ import annotations

from collections.abc import Mapping

RGB = tuple[int, int, int]

COLOURS: Mapping[str, RGB] = {
    "red": (214, 40, 40),
    "orange": (240, 136, 20),
    "yellow": (236, 214, 30),
    "green": (40, 160, 60),
    "cyan": (40, 190, 210),
    "blue": (40, 80, 200),
    "purple": (140, 60, 180),
    "pink": (240, 130, 180),
}
BACKGROUNDS: Mapping[str, RGB] = {"white": (244, 244, 244), "gray": (140, 140, 140), "black": (22, 22, 22)}
SHAPES = ("circle", "square", "triangle", "star", "ring", "heart", "cross")
# Radius, in cells: what a shape's bounding circle measures. A cell is a third of the side.
SIZES: Mapping[str, float] = {"small": 0.28, "big": 0.42}

GRID = 3
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
CELLS = tuple(f"{row} {column}" for row in ROWS for column in COLUMNS)

# Relations of an object to a neighbour in the grid: (rows, columns) from the neighbour to the object.
RELATIONS: Mapping[str, tuple[int, int]] = {
    "left of": (0, -1),
    "right of": (0, 1),
    "above": (-1, 0),
    "below": (1, 0),
}
INVERSE: Mapping[str, str] = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
NUMBERS = ("no", "one", "two", "three", "four")
MOST_THINGS, MOST_LINES = 4, 2

# Ways of writing. `latin` words are also drawn from random letters, so that they must be read and not guessed.
SCRIPTS = ("latin", "cyrillic", "hebrew", "han", "han vertical")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS: Mapping[str, tuple[str, ...]] = {
    "latin": (
        *("SUN", "SKY", "TEA", "MAP", "RED", "BOX", "ICE", "OAK", "FOX", "JAM", "OPEN", "MOON", "RAIN", "GOLD", "LAKE"),
        *("SNOW", "BIRD", "WIND", "CAFE", "TREE", "STAR", "SALE", "MUSIC", "BREAD", "RIVER", "LIGHT", "NORTH", "HOTEL"),
        *("STONE", "OCEAN", "PAPER", "HOUSE", "GREEN DAY", "NEW ROAD", "TEA TIME", "OLD TOWN", "SLOW DOWN", "GO NORTH"),
    ),
    "cyrillic": (
        *("МИР", "ДОМ", "ЧАЙ", "ЛЕС", "СОК", "ДЕНЬ", "ЗИМА", "ЛУНА", "РЕКА", "СВЕТ", "ГОРОД", "ХЛЕБ", "ВЕТЕР", "МОРЕ"),
        *("НОВЫЙ ГОД", "ДОБРЫЙ ДЕНЬ"),
    ),
    "hebrew": ("שלום", "יום", "מים", "אור", "בית", "ספר", "לחם", "ירח", "עיר", "קפה", "יום טוב", "בית קפה"),
    "han": (
        "天",
        "山水",
        "春风",
        "明月",
        "茶馆",
        "书店",
        "大海",
        "北京",
        "欢迎",
        "开门",
        "早安",
        "新年好",
        "星期天",
        "安静",
    ),
    "han vertical": ("山水", "春风", "明月", "茶馆", "书店", "大海", "欢迎", "新年好", "星期天"),
}
RIGHT_TO_LEFT = frozenset({"hebrew"})


def row_of(cell: int) -> int:
    return cell // GRID


def column_of(cell: int) -> int:
    return cell % GRID


def with_article(noun: str) -> str:
    """As in: a blue star, an orange star."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def contrasts(ink: str, background: str) -> bool:
    """Whether a line of this colour can be read on this ground: their luma differs by a fifth of the range."""
    return abs(_luma(COLOURS[ink]) - _luma(BACKGROUNDS[background])) >= 51


def is_dark(colour: str) -> bool:
    """Whether white is read better on it than black."""
    return _luma(COLOURS[colour]) < 140


def _luma(rgb: RGB) -> float:
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
