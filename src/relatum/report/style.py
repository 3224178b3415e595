"""The look of a report: one column of text, cards for pictures, light and dark, and on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --text: #1f2328; --soft: #59636e; --back: #ffffff; --card: #f6f8fa; --line: #d1d9e0;
  --accent: #0969da;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6edf3; --soft: #9da7b1; --back: #0d1117; --card: #161b22; --line: #3d444d;
    --accent: #4493f8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: break-word;
}
header, main, footer { max-width: 74rem; margin-inline: auto; padding-inline: 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.4rem, 1rem + 2vw, 2.1rem); line-height: 1.2; margin: 0 0 .75rem; }
h2 {
  font-size: 1.2rem; line-height: 1.3; margin: 2.75rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: .95rem; margin: 0 0 .4rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
.verdict { font-size: 1.15rem; border-left: .25rem solid var(--accent); padding: .1rem 0 .1rem 1rem; }
.soft, figcaption, .under, footer { color: var(--soft); font-size: .875rem; }
.under { margin-top: .6rem; }
.under p { margin: .2rem 0; }
dl.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1px;
  margin: 1.5rem 0 0; background: var(--line); border: 1px solid var(--line);
  border-radius: .5rem; overflow: hidden;
}
dl.facts > div { background: var(--card); padding: .6rem .9rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.wide:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; }
table.results { min-width: 100%; }
th, td { padding: .42rem .75rem; text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; font-size: .8rem; border-bottom: 1px solid var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th, thead th.left, td.left { text-align: left; font-weight: 600; }
td.left { font-weight: 400; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
tr.reference > * { background: var(--card); }
td.clear { font-weight: 700; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
.matrices { grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
figure { margin: 0; min-width: 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; }
.matrices .card { color: #1f2328; }
.card figcaption { color: #59636e; padding: .1rem .2rem .4rem; line-height: 1.35; }
.card img { display: block; width: auto; max-width: 100%; height: auto; margin-inline: auto; }
.lead img { margin-inline: 0; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
details > :not(summary) { margin-top: .6rem; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .86em; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; overflow-x: auto; }
footer { padding-block: 3rem 2rem; }
@media print {
  :root {
    color-scheme: light;
    --text: #000; --soft: #444; --back: #fff; --card: #f6f8fa; --line: #bbb; --accent: #000;
  }
  body { font-size: 10pt; }
  header { padding-top: 0; }
  figure, tr, dl.facts > div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .wide { overflow: visible; }
  th, td { white-space: normal; padding: .25rem .4rem; }
}
"""
