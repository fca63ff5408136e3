"""Third round for `math`."""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group
from tests.trainer.verifiers.corpus.second_round.math import boxed

GROUPS = (
    boxed(
        "surds",
        r"\frac{3+\sqrt{5}}{2}",
        (r"\frac{\sqrt5+3}{2}", r"\frac32+\frac{\sqrt5}{2}", r"(3+\sqrt{5})/2", r"1.5+0.5\sqrt5", r"\dfrac{3 + \sqrt{5}}{2}"),
        (r"\frac{3-\sqrt{5}}{2}", r"\frac{3\pm\sqrt{5}}{2}", "2.618", r"3+\frac{\sqrt5}{2}", r"\frac{3+\sqrt{5}}{4}", r"\frac{5+\sqrt3}{2}"),
    ),
    boxed(
        "half-open intervals",
        "(-1, 4]",
        (r"-1 < x \le 4", r"x \in (-1,4]", r"\left(-1, 4\right]", r"\{x \in \mathbb{R} : -1 < x \leq 4\}", r"4 \ge x > -1"),
        ("[-1,4)", "(-1,4)", "[-1,4]", r"-1 \le x < 4", r"\{-1,4\}", r"x \le 4", "(-1,5]", r"(-1,4]\cup\{5\}"),
    ),
    boxed(
        "excluded values",
        r"(-\infty,-1)\cup(-1,1)\cup(1,\infty)",
        (r"\mathbb{R}\setminus\{-1,1\}", r"(1,\infty)\cup(-1,1)\cup(-\infty,-1)", r"x \in \mathbb{R} \setminus \{1, -1\}"),
        (r"\mathbb{R}\setminus\{1\}", r"\mathbb{R}", r"(-\infty,-1)\cup(1,\infty)", r"x \ne 1", r"(-1,1)", r"\{-1,1\}"),
    ),
    boxed(
        "inequalities of two letters",
        "x < y",
        ("x < y", "y > x"),
        ("x > y", r"x \le y", "x = y", "y < x"),
    ),
    boxed(
        "parabolas",
        "y = x^2 - 4x + 3",
        ("y = (x-1)(x-3)", "y=(x-2)^2-1", "x^2-4x+3", "y - x^2 + 4x - 3 = 0"),
        ("y = x^2 + 4x + 3", "x = y^2 - 4y + 3", "y = (x-1)(x+3)", "x^2-4x+3=0", "y=3", "1, 3"),
    ),
    boxed(
        "sets of pairs",
        r"\{(0,0),(1,2)\}",
        (r"(0,0),(1,2)", r"\{(1,2),(0,0)\}", r"(1,2)\text{ and }(0,0)"),
        (r"(0,0)", r"(0,1),(0,2)", r"\{(0,0),(2,1)\}", r"0,0,1,2", r"\{0,1,2\}"),
    ),
    boxed(
        "units",
        r"20\text{ m/s}",
        (r"20\text{ m/s}", "20", r"72\text{ km/h}", r"20\ \frac{\text{m}}{\text{s}}", r"20 \text{ meters per second}"),
        (r"20\text{ km/h}", r"20\text{ m}", r"72", r"20\text{ s}", r"20\text{ m/s}^2", r"2\text{ m/s}"),
    ),
    boxed(
        "logarithms to other bases",
        r"\log_3 5",
        (r"\frac{\ln 5}{\ln 3}", r"\log_{3}{5}", r"\frac{\log 5}{\log 3}", r"\log_9 25"),
        (r"\log_5 3", r"\ln\frac53", "1.46", r"\log_3 25", r"\frac{\ln 3}{\ln 5}"),
    ),
    boxed(
        "trigonometric formulas",
        r"2\sin x\cos x",
        (r"\sin 2x", r"\sin(2x)", r"2\cos x \sin x"),
        (r"\sin x", r"2\sin x", r"\cos 2x", r"\sin^2 x", r"2\sin x\cos y"),
    ),
    boxed(
        "capital and small letters",
        r"\frac{1}{2}mV^2",
        (r"\frac{mV^2}{2}", r"0.5mV^2", r"\frac12 m V^{2}"),
        (r"\frac{1}{2}mv^2", r"\frac12 MV^2", r"mV^2", r"\frac12 mV", r"\frac{1}{2}m^2V"),
    ),
    boxed(
        "bases",
        "2A_{16}",
        (r"2A_{16}", r"(2A)_{16}", r"2a_{16}", r"2A_{\text{16}}"),
        ("42", r"2A_{12}", r"A2_{16}", "2A", r"2_{16}"),
    ),
    boxed(
        "columns",
        r"\begin{pmatrix} 3 \\ -1 \end{pmatrix}",
        (r"\begin{bmatrix} 3 \\ -1 \end{bmatrix}", r"\begin{pmatrix}3\\-1\end{pmatrix}", r"\langle 3,-1\rangle"),
        (r"\begin{pmatrix} -1 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 3 & -1 \end{pmatrix}", r"\{3,-1\}", "2", r"\begin{pmatrix}3\\1\end{pmatrix}"),
    ),
    boxed(
        "three times of day",
        r"7{:}45\text{ PM}",
        (r"7:45\text{ p.m.}", "19:45", "7:45 pm"),
        ("7:45 AM", "7:54 PM", "745", "8:45 PM", r"7.45"),
    ),
    boxed(
        "exact integers",
        r"3^{50}",
        (r"9^{25}", "717897987691852588770249", r"3^{49}\cdot 3"),
        ("717897987691852588770248", r"3^{50}-1", r"3^{51}", r"7.178979876918526\times 10^{23}", r"50^3"),
    ),
    boxed(
        "coefficients",
        r"x^2y+3",
        (r"3+yx^2", r"y x^2 + 3", r"x\cdot x\cdot y + 3"),
        (r"xy^2+3", r"x^2+3", r"x^2y-3", r"3x^2y", r"x^2 z+3"),
    ),
    boxed(
        "several numbers",
        "2, 3, 5",
        ("2,3,5", "5,3,2", r"\{2,3,5\}", r"2, 3 \text{ and } 5", r"x=2, x=3, x=5"),
        ("2,3", "2,3,5,7", "2,3,-5", "235", "30", "(5,3,2)", "2,2,3,5", "10"),
    ),
    boxed(
        "text and symbols",
        r"\text{No solution}",
        (r"\text{no solution}", r"\text{No solutions}", r"\text{no solution.}"),
        (r"\text{one solution}", "0", r"\text{infinitely many solutions}", r"\text{no}", r"x=0"),
    ),
    boxed(
        "factorials and choices",
        "120",
        ("5!", r"\binom{10}{3}", r"5\cdot 4!", r"\frac{6!}{6}", "120.0"),
        ("6!", r"\binom{10}{4}", "5", r"\frac{5!}{2}", r"120!", r"\binom{120}{2}"),
    ),
    boxed(
        "exponents and signs",
        r"-2^{3}",
        ("-8", r"-(2^3)", r"(-2)^3"),
        ("8", r"2^{-3}", r"\frac18", r"(-2)^{2}", "-6", r"-2^{-3}"),
    ),
    boxed(
        "approximations",
        r"\sqrt{10}",
        (r"\sqrt{10} \approx 3.16", "3.162278", r"10^{1/2}", r"\sqrt{2}\sqrt{5}"),
        ("3.16", "3.2", r"\approx 3.16", "10", r"\sqrt[3]{10}", r"\sqrt{5}+\sqrt{5}"),
    ),
    Group(
        "marks and text",
        r"\frac{2}{3}",
        (
            "The probability is $\\frac{2}{3}$.",
            "Answer: 2/3",
            "The answer is **2/3**.",
            "<think>\\boxed{\\frac13}</think>\n\n$\\boxed{\\frac{2}{3}}$",
            "Thus $P = \\frac{4}{6} = \\frac{2}{3}$.",
            "\\[\\boxed{\\dfrac{2}{3}}\\]",
            "So the final answer is \\(\\tfrac23\\).",
            "故答案为：$\\frac{2}{3}$．",
            "two thirds",
            "The answer is not $\\frac13$ but $\\frac23$.",
            "$\\boxed{\\frac23}$\n\n**Problem 2.** Find $x$.\n\n$\\boxed{5}$",
        ),
        (
            "The probability is $\\frac{3}{2}$.",
            "The answer is $\\frac{2}{3}$ or $\\frac{1}{3}$.",
            "The answer is not $\\frac23$.",
            "$\\boxed{\\frac{2}{3}}$ is wrong; the answer is $\\frac13$.",
            "$\\boxed{\\frac{1}{3}}$, not $\\frac23$.",
            "<think>$\\boxed{\\frac{2}{3}}$",
            "$\\boxed{5}$\n\n**Problem 2.** Find $x$.\n\n$\\boxed{\\frac23}$",
            "The answer is $\\frac{2}{3}$. Wait, I forgot a factor: it is $\\frac{1}{3}$.",
            "$\\frac{2}{3}x$",
            "between $\\frac{1}{3}$ and $\\frac23$",
            "1 - $\\frac{2}{3}$",
        ),
    ),
)
