"use strict";
// What all parts of the report share: the data, the theme, colours, numbers as text.
// The page is readable without any of this.

const page = JSON.parse(document.getElementById("conveyor-data").textContent);
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => root.dataset.theme ?? (prefersDark.matches ? "dark" : "light");

const find = (selector, inside = document) => inside.querySelector(selector);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

/** A new element: make("li", { className: "here" }, "text", another). */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A function from a value to [r, g, b], as `_palette.colour` in Python. */
function colours({ palette, low, high }) {
  const steps = page.palettes[theme()][palette].map(rgb);
  return (value) => {
    if (Number.isNaN(value)) return [128, 128, 128];
    const place = Math.min(1, Math.max(0, (value - low) / (high - low))) * (steps.length - 1);
    const below = Math.min(Math.floor(place), steps.length - 2);
    const part = place - below;
    return steps[below].map((c, i) => Math.round(c * (1 - part) + steps[below + 1][i] * part));
  };
}

/** Black or white, whichever is read more easily on this colour. */
const inkOn = ([red, green, blue]) =>
  0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#15171b" : "#ffffff";

/**
 * A value as text: three decimals, or two where the page does not know the third; two digits of
 * what is small. With a ± where it may be off by more than one in the last of them.
 * half: half a step of the whole numbers in the page; a gate has no sign.
 */
function spell(value, half, isSigned) {
  const size = Math.abs(value);
  const sign = !isSigned ? "" : value < 0 ? "−" : "+";
  const digits = size && size < 0.01 ? 1 - Math.floor(Math.log10(size)) : 3;
  for (const decimals of [digits, 3, 2]) {
    if (half > 10 ** -decimals / 4) continue;
    return sign + (decimals > 8 ? size.toPrecision(2) : size.toFixed(decimals));
  }
  const text = size.toFixed(2);
  const bound = half + Math.abs(Number(text) - size);
  const unit = 10 ** Math.floor(Math.log10(bound));
  return `${sign}${text} ± ${Number((Math.ceil(bound / unit - 1e-9) * unit).toPrecision(1))}`;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
/** Text of any direction that does not turn its neighbours. */
const isolated = (text) => `\u2068${text}\u2069`;
