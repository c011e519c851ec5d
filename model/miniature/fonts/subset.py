"""Cut the fonts of the world out of freely licensed ones: `python -m model.miniature.fonts.subset NOTO_CJK DEJAVU`.

The arguments are NotoSansCJK-Bold.ttc (SIL Open Font License 1.1) and DejaVuSans-Bold.ttf (Bitstream Vera licence);
LICENCES beside this file holds both. Needs `fonttools`. Run again when the vocabulary gains a sign.
"""

from __future__ import annotations

import sys
from pathlib import Path

from model.miniature.vocabulary import WORDS

HERE = Path(__file__).parent
# The face for Simplified Chinese in the collection.
_SIMPLIFIED = 2
# ASCII, Russian, Hebrew: whole, they are small.
_LETTERS = (*range(0x20, 0x7F), 0x401, *range(0x410, 0x450), 0x451, *range(0x5D0, 0x5EB))


def main(noto: str, dejavu: str) -> None:
    han = "".join(text for script in ("han", "han vertical") for text in WORDS[script])
    _cut(noto, _SIMPLIFIED, han, HERE / "han.otf")
    _cut(dejavu, 0, "".join(map(chr, _LETTERS)), HERE / "letters.ttf")


def _cut(source: str, number: int, signs: str, into: Path) -> None:
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(layout_features=[], hinting=False, name_IDs=[0, 1, 2, 13, 14], notdef_outline=True)
    cutter = subset.Subsetter(options)
    cutter.populate(text=signs)
    font = TTFont(source, fontNumber=number)
    cutter.subset(font)
    font.save(into, reorderTables=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
