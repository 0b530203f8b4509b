// ---- looking for passages: nothing here touches the page -----------------------------------

/** A unit is on where the size of its value is above the threshold; a masked step is off. */
const isOn = (layer, name, sample, row, step, threshold) =>
  Math.abs(layer.value(name, sample, row, step)) > threshold;

/** The rows of the units that are on from the first to the last step of a passage. */
function rowsOn(layer, name, { sample, from, to }, threshold, outside) {
  const on = (row, step) => isOn(layer, name, sample, row, step, threshold);
  return layer.rows.map((_, row) => row).filter((row) => {
    for (let step = from; step <= to; step++) if (!on(row, step)) return false;
    if (!outside) return true;
    return !(from > 0 && on(row, from - 1)) && !(to + 1 < layer.lengths[sample] && on(row, to + 1));
  });
}

/** The highest threshold, in hundredths of `most`, at which about eight units are on. */
function thresholdFor(layer, name, { sample, from, to }, most) {
  const least = layer.rows.map((_, row) => {
    let size = Infinity;
    for (let step = from; step <= to; step++) size = Math.min(size, Math.abs(layer.value(name, sample, row, step)) || 0);
    return size;
  });
  const wanted = Math.min(8, Math.ceil(layer.rows.length / 6));
  const enough = least.sort((one, other) => other - one)[wanted - 1];
  return Math.max(0, Math.ceil((100 * enough) / most) - 1) / 100;
}

/**
 * Other passages in which the same units are on, best first: the share of these units that are
 * on from the first step to the last, times how alike the two lengths are (the shorter by the
 * longer). Passages of half to twice the length; none overlaps another or the one selected.
 */
function similarPassages(layer, name, rows, span, threshold, outside, most = 12) {
  const wanted = span.to - span.from + 1;
  const [shortest, longest] = [Math.ceil(wanted / 2), 2 * wanted];
  const candidates = [];
  for (let sample = 0; sample < layer.states[name].samples; sample++) {
    const length = layer.lengths[sample];
    // counts[start * (longest + 1) + n]: how many units are on for n steps from start.
    const counts = new Int32Array(length * (longest + 1));
    for (const row of rows) {
      for (let step = length - 1, run = 0; step >= 0; step--) {
        run = isOn(layer, name, sample, row, step, threshold) ? run + 1 : 0;
        if (!run) continue;
        if (!outside) counts[step * (longest + 1) + Math.min(run, longest)]++;
        else if (run <= longest && !(step > 0 && isOn(layer, name, sample, row, step - 1, threshold))) {
          counts[step * (longest + 1) + run]++;
        }
      }
    }
    for (let from = 0; from < length; from++) {
      const here = counts.subarray(from * (longest + 1), (from + 1) * (longest + 1));
      // Who is on for longer is on for n steps too, unless it has to be off after them.
      if (!outside) for (let n = longest - 1; n > 0; n--) here[n] += here[n + 1];
      let best = null;
      for (let n = shortest; n <= longest && from + n <= length; n++) {
        const score = (here[n] / rows.length) * (Math.min(n, wanted) / Math.max(n, wanted));
        if (score > (best?.score ?? 0)) best = { sample, from, to: from + n - 1, units: here[n], score };
      }
      if (best) candidates.push(best);
    }
  }
  return apart(candidates, most, [span]);
}

/** The passages that drive a unit most: the peaks of its value, or of its change. */
function drivers(layer, name, row, by, most = 8, around = 4) {
  const peaks = [];
  const back = layer.direction === "backward" ? 1 : -1;
  for (let sample = 0; sample < layer.states[name].samples; sample++) {
    const length = layer.lengths[sample];
    const value = (step) => layer.value(name, sample, row, step);
    for (let step = 0; step < length; step++) {
      const before = step + back;
      // Before the first step that is read a change is not known here: it does not compete.
      const known = by === "value" || (before >= 0 && before < length);
      const score = known ? Math.abs(by === "value" ? value(step) : value(step) - value(before)) : NaN;
      if (score > 0) {
        const [from, to] = [Math.max(0, step - around), Math.min(length - 1, step + around)];
        peaks.push({ sample, from, to, peak: step, score });
      }
    }
  }
  return apart(peaks, most, []);
}

/** The best of them, none overlapping a better one. */
function apart(candidates, most, taken) {
  candidates.sort((one, other) => other.score - one.score || one.sample - other.sample || one.from - other.from);
  const chosen = [];
  for (const each of candidates) {
    const overlaps = (other) => other.sample === each.sample && other.from <= each.to && each.from <= other.to;
    if (!chosen.some(overlaps) && !taken.some(overlaps)) chosen.push(each);
    if (chosen.length === most) break;
  }
  return chosen;
}
