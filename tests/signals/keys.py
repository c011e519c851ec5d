"""What 100 published judgements say, read by a person: the key that imports are held to."""

from __future__ import annotations

# Rows of GenEval's sheet for Stable Diffusion 2.1: whether the objects are there (O), as many as asked (C), in their colours
# (A), in their place (R), and the picture's quality of four (q). A letter is left out where the caption does not ask.
GENEVAL = """
0 O1 A1 q4      37 O1 C1 q4     74 O1 q3        111 O1 q3       148 O1 C1 q4    185 O0 q3       222 O0 q3       259 O1 q4
296 O1 A1 q4    333 O1 C0 q4    370 O1 A1 q4    407 O1 C1 q4    444 O0 q2       481 O1 R0 q3    518 O1 q4       555 O1 A1 q4
592 O1 A1 q4    629 O0 R0 q4    666 O1 A1 q4    703 O0 q2       740 O1 A0 q4    777 O1 C1 q4    814 O1 C1 q4    851 O1 A1 q4
888 O1 q3       925 O1 q4       962 O0 R0 q2    999 O1 q3       1036 O0 q3      1073 O1 C1 q4   1110 O1 A1 q4   1147 O1 q4
1184 O1 A0 q2   1221 O1 q3      1258 O1 C0 q3   1295 O1 q4      1332 O1 C0 q3   1369 O1 A0 q3   1406 O1 q4      1443 O1 q4
1480 O1 q3      1517 O1 C0 q2   1554 O1 q4      1591 O1 A1 q4   1628 O1 A0 q4   1665 O1 q4      1702 O1 A0 q3   1739 O1 q3
1776 O0 R0 q4   1813 O0 q4      1850 O1 C0 q3   1887 O0 R0 q2   1924 O1 A1 q4   1961 O1 A1 q4   1998 O1 q4      103 O1 R0 q3
175 O1 R1 q4    193 O1 R0 q3    292 O1 R1 q4    382 O0 R0 q2    400 O1 R0 q4    454 O1 R1 q3    535 O0 R0 q3    553 O1 R0 q4
607 O1 R0 q3    634 O1 R1 q4    652 O1 R1 q4    679 O1 R1 q3    733 O1 R0 q3    751 O1 R0 q4    760 O1 R0 q4    796 O1 R1 q3
1021 O1 R1 q4   1093 O1 R1 q3   1138 O1 R0 q3   1192 O1 R0 q4   1219 O1 R0 q4   1390 O1 R0 q4   1435 O1 R0 q4   1462 O1 R0 q3
"""
# TIFA's pictures by Stable Diffusion 2.1: what two people gave, of five.
TIFA = {
    "coco_669925": (5, 5),
    "coco_322041": (3, 4),
    "coco_226941": (5, 5),
    "partiprompt_1414": (4, 4),
    "partiprompt_1053": (4, 4),
    "coco_290223": (5, 5),
    "coco_544405": (5, 5),
    "coco_602469": (5, 5),
    "coco_559555": (4, 5),
    "coco_758774": (3, 4),
    "coco_653095": (4, 5),
    "coco_397109": (4, 4),
    "coco_751840": (4, 5),
    "drawbench_138": (4, 3),
    "partiprompt_274": (5, 5),
    "paintskill_374": (5, 5),
    "partiprompt_869": (3, 3),
    "partiprompt_632": (5, 4),
    "partiprompt_358": (4, 5),
    "partiprompt_254": (5, 5),
}
