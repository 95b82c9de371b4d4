r"""Formulas as MathML, which browsers draw themselves: no script, nothing to fetch.

Two things docutils does otherwise than TeX: sizes of brackets (`\big`, `\Big`), which it doesn't know, are left out, since
MathML stretches brackets by itself; and a letter with an accent gets an empty neighbour, or its index would stand below it.
"""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def inline(writer, node):
    """Writes a formula inside a line."""
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(writer, node):
    """Writes a formula on lines of its own."""
    writer.body.append(f'<div class="formula">{mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def mathml(formula, as_block=False):
    """Returns a formula as MathML."""
    formula = re.sub(r"\\[bB]ig(?![a-z])", "", formula)
    formula = re.sub(r"(\\(?:hat|bar|tilde)(?: *[A-Za-z]|\{[A-Za-z]+\}))", r"{{}\1}", formula)
    return tex2mathml(formula, as_block=as_block)
