'use strict';
// Draws each chart when it comes into view, in the colours of the page, and again when these or the controls change.
const touch = window.matchMedia('(pointer: coarse)').matches;
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const drawn = new Set();
const MOST_ROWS = 50; // of a table
let lines, charts;

// What is large is packed by gzip.
function unpack(key) {
  const text = document.getElementById(`packed-${key}`).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function translucent(hex, alpha) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

// Plotly takes some HTML in its texts; names are shown as they are.
function plain(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function has_band(line) {
  return line.low.some((value, place) => value !== line.high[place]);
}

// The choices of the controls of the chart's section.
function choices(element) {
  const section = element.closest('section');
  const smoothing = section.querySelector('[data-smoothing]');
  return { smoothing: smoothing ? Number(smoothing.value) : 0, log: Boolean(section.querySelector('[data-log]:checked')) };
}

function lines_of(chart, element) {
  return chart.lines[choices(element).smoothing].map((place) => lines[place]);
}

function traces(line) {
  const shade = colour(`--c${line.colour % 7}`);
  const found = [];
  const band = has_band(line);
  if (band) {
    const edge = { x: line.x, mode: 'lines', line: { width: 0 }, hoverinfo: 'skip', showlegend: false, legendgroup: line.label };
    found.push({ ...edge, y: line.low });
    found.push({ ...edge, y: line.high, fill: 'tonexty', fillcolor: translucent(shade, 0.2) });
  }
  found.push({
    x: line.x, y: line.mean, name: plain(line.label), legendgroup: line.label, mode: line.x.length < 15 ? 'lines+markers' : 'lines',
    line: { color: shade, width: 2 }, marker: { size: 6 }, connectgaps: false,
    customdata: line.x.map((_, place) => [line.low[place], line.high[place]]),
    hovertemplate: band ? '%{y:.4g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})' : '%{y:.4g}',
  });
  return found;
}

// A range that is not narrower than the chart's minimum span; null leaves it to Plotly.
function widened(chart, shown) {
  const values = shown.flatMap((line) => [...line.low, ...line.high]).filter((value) => value !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high - low < chart.span ? [(low + high - chart.span) / 2, (low + high + chart.span) / 2] : null;
}

function draw(element) {
  const chart = charts[Number(element.dataset.chart)];
  const { smoothing, log } = choices(element);
  const shown = lines_of(chart, element);
  const is_log = log && !chart.zero;
  const [title_size, size] = document.documentElement.classList.contains('printing') ? [9, 8] : [13, 11];
  const range = is_log ? null : chart.y_range[smoothing] || widened(chart, shown);
  const axis = { gridcolor: colour('--line'), zeroline: false, exponentformat: 'power', linecolor: colour('--line'), automargin: true };
  const layout = {
    title: { text: plain(chart.title), font: { size: title_size }, x: 0.02, xanchor: 'left', y: 0.97, yanchor: 'top' },
    font: { color: colour('--text'), size },
    paper_bgcolor: colour('--card'), plot_bgcolor: colour('--card'),
    margin: { l: 45, r: 12, t: 56, b: 40 },
    xaxis: { ...axis, title: { text: plain(chart.x_label), standoff: 6 } },
    yaxis: { ...axis, type: is_log ? 'log' : 'linear', ...(range ? { range } : { autorange: true }),
      zeroline: chart.zero, zerolinecolor: colour('--text') },
    showlegend: shown.length > 1,
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 1, xanchor: 'right', bgcolor: 'rgba(0,0,0,0)' },
    hovermode: 'x unified', hoverlabel: { bgcolor: colour('--page'), font: { color: colour('--text') } },
    dragmode: touch ? false : 'zoom', // a finger that scrolls the page must not zoom
  };
  const config = {
    responsive: true, typesetMath: false, displaylogo: false, displayModeBar: touch ? true : 'hover',
    modeBarButtons: [['zoomIn2d', 'zoomOut2d', 'resetScale2d', 'toImage']],
  };
  Plotly.react(element, shown.flatMap((line) => traces(line)), layout, config);
  drawn.add(element);
}

function cell(row, tag, text) {
  const found = document.createElement(tag);
  if (tag === 'th') found.scope = row.parentNode.tagName === 'THEAD' ? 'col' : 'row';
  found.textContent = text;
  row.append(found);
}

function in_digits(value) {
  return value === undefined || value === null ? '–' : String(Number(value.toPrecision(4)));
}

// The values of a chart, of evenly spaced places where there are many.
function table(chart, element) {
  const shown = lines_of(chart, element);
  const frame = document.createElement('div');
  frame.className = 'scroll';
  frame.tabIndex = 0;
  const found = frame.appendChild(document.createElement('table'));
  found.createCaption().textContent = chart.y_label;
  const head = found.createTHead().insertRow();
  [chart.x_label, ...shown.map((line) => line.label)].forEach((text) => cell(head, 'th', text));
  const places = [...new Set(shown.flatMap((line) => line.x))].sort((one, other) => one - other);
  const step = Math.ceil(places.length / MOST_ROWS);
  const body = found.createTBody();
  places.filter((_, place) => (places.length - 1 - place) % step === 0).forEach((x) => {
    const row = body.insertRow();
    cell(row, 'th', String(x));
    shown.forEach((line) => {
      const place = line.x.indexOf(x);
      const spread = has_band(line) && place >= 0 ? ` (${in_digits(line.low[place])} to ${in_digits(line.high[place])})` : '';
      cell(row, 'td', in_digits(line.mean[place]) + spread);
    });
  });
  return frame;
}

function fill_table(details) {
  details.querySelectorAll('.scroll').forEach((one) => one.remove());
  details.previousElementSibling.querySelectorAll('.chart').forEach((element) => {
    const chart = charts[Number(element.dataset.chart)];
    if (!chart.single) details.append(table(chart, element));
  });
}

function redraw(within) {
  drawn.forEach((element) => { if (within.contains(element)) draw(element); });
  within.querySelectorAll('.data[open]').forEach(fill_table);
}

// Shows the marks above the lowest score, and objects as missed where no detection above it takes them.
function filter(section) {
  const score = section.querySelector('[data-score]');
  const threshold = Number(score.value);
  score.nextElementSibling.textContent = threshold;
  const kinds = Object.fromEntries([...section.querySelectorAll('[data-kind]')].map((one) => [one.dataset.kind, one.checked]));
  section.classList.toggle('no-outline', !kinds.outline);
  section.classList.toggle('no-label', !kinds.label);
  section.querySelectorAll('.marked').forEach((picture) => {
    const counts = { hit: 0, false: 0, missed: 0 };
    picture.querySelectorAll('.mark').forEach((mark) => {
      const kind = mark.classList[1];
      const above = mark.dataset.score === undefined || Number(mark.dataset.score) >= threshold;
      const counted = kind === 'missed' ? mark.dataset.score === undefined || !above : above;
      if (counted && mark.tagName === 'g') counts[kind] += 1;
      mark.style.display = counted && kinds[kind] !== false ? '' : 'none';
    });
    const shown = picture.parentNode.querySelector('[data-count]');
    if (shown) shown.textContent = `${counts.hit} true, ${counts.false} false, ${counts.missed} missed`;
  });
}

// On paper all charts are drawn, in the width of a page and in dark on white, and nothing is folded but the data.
let folded = [];
function prepare_print() {
  folded = [...document.querySelectorAll('details:not([open]):not(.data)')];
  folded.forEach((one) => { one.open = true; });
  document.documentElement.classList.add('printing');
  document.querySelectorAll('.chart').forEach((element) => { draw(element); Plotly.Plots.resize(element); });
}

function end_print() {
  document.documentElement.classList.remove('printing');
  folded.forEach((one) => { one.open = false; });
  drawn.forEach((element) => { draw(element); Plotly.Plots.resize(element); });
}

async function start() {
  const [plotly, data] = await Promise.all([unpack('plotly'), unpack('charts')]);
  const script = document.createElement('script');
  script.textContent = plotly;
  document.head.append(script);
  ({ lines, charts } = JSON.parse(data));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
    }
  }, { rootMargin: '200px' });
  document.querySelectorAll('.chart').forEach((element) => {
    element.setAttribute('aria-label', charts[Number(element.dataset.chart)].title);
    watcher.observe(element);
  });
  document.querySelectorAll('.data').forEach((one) => one.addEventListener('toggle', () => { if (one.open) fill_table(one); }));
  document.querySelectorAll('.controls').forEach((one) => one.addEventListener('change', () => redraw(one.closest('section'))));
  const detections = document.getElementById('detections');
  if (detections) {
    detections.addEventListener('input', () => filter(detections));
    filter(detections);
  }
  dark.addEventListener('change', () => redraw(document.body));
  window.addEventListener('beforeprint', prepare_print);
  window.addEventListener('afterprint', end_print);
  document.documentElement.dataset.ready = 'yes';
}

start();
