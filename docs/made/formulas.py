r"""Formulas as MathML, which browsers draw themselves: no script, nothing to fetch.

Sizes of brackets (`\big`, `\Big`) are left out: docutils doesn't know them, and MathML stretches brackets by itself.
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
    return tex2mathml(re.sub(r"\\[bB]ig(?![a-z])", "", formula), as_block=as_block)
