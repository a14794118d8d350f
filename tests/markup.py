"""Markup that would do harm, and the elements that the package itself makes."""

FRAGMENTS = (
    "<script>window.hacked=1</script>|<img src=x onerror=window.hacked=1>|<svg/onload=hacked=1>|"
    "<iframe srcdoc='<script>parent.hacked=1</script>'>|</div>|</bdi></span>|<b>|<style>*{}|"
    "<a href=javascript:hacked=1>x</a>|\" onmouseover=hacked=1 x=\"|' onclick=hacked=1 '|&lt;i&gt;|"
    "&#60;u&#62;|&|<|>|\"|'|`|<!--|-->|<![CDATA[|<math><mi>|{{hacked}}|${hacked}|$x^2$|$\\frac$|"
    "<\x00script>|<scr\u200bipt>|\u202e|a|of|<br>|<input autofocus onfocus=hacked=1>|\\u003cb>|$"
).split("|")
OURS = {  # every element that we make, and its attributes
    "div": {"class", "style", "role"},
    "span": {"style", "title"},
    "bdi": set(),
    "del": {"style"},
    "small": set(),
    "sup": set(),
    "b": set(),
    "p": set(),
    "img": {"alt", "style", "src"},
    "table": {"class"},
    **{name: set() for name in ("thead", "tbody", "tr")},
    "th": {"scope", "style"},
    "td": {"style"},
}
