'use strict';
// Draws each chart when it comes into view, in the colours of the page, and again when these change.
const charts = JSON.parse(document.getElementById('chart-data').textContent);
const touch = window.matchMedia('(pointer: coarse)').matches;
const drawn = new Set();

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

function traces(line) {
  const shade = colour(`--c${line.colour % 7}`);
  const few = line.x.length < 15;
  const found = [];
  if (line.band) {
    const edge = { x: line.x, mode: 'lines', line: { width: 0 }, hoverinfo: 'skip', showlegend: false, legendgroup: line.label };
    found.push({ ...edge, y: line.low });
    found.push({ ...edge, y: line.high, fill: 'tonexty', fillcolor: translucent(shade, 0.2) });
  }
  found.push({
    x: line.x, y: line.mean, name: plain(line.label), legendgroup: line.label, mode: few ? 'lines+markers' : 'lines',
    line: { color: shade, width: 2 }, marker: { size: 6 }, connectgaps: false,
    customdata: line.x.map((_, place) => [line.low[place], line.high[place]]),
    hovertemplate: line.band ? '%{y:.4g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})' : '%{y:.4g}',
  });
  return found;
}

function draw(element) {
  const chart = charts[Number(element.dataset.chart)];
  const axis = { gridcolor: colour('--line'), zeroline: false, exponentformat: 'power', linecolor: colour('--line'), automargin: true };
  const layout = {
    title: { text: plain(chart.title), font: { size: 13 }, x: 0.02, xanchor: 'left', y: 0.97, yanchor: 'top' },
    font: { color: colour('--text'), size: 11 },
    paper_bgcolor: colour('--card'), plot_bgcolor: colour('--card'),
    margin: { l: 45, r: 12, t: 56, b: 40 },
    xaxis: { ...axis, title: { text: plain(chart.x_label), standoff: 6 } },
    yaxis: { ...axis, ...(chart.y_range ? { range: chart.y_range } : {}), zeroline: chart.zero, zerolinecolor: colour('--text') },
    showlegend: chart.lines.length > 1,
    legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 1, xanchor: 'right', bgcolor: 'rgba(0,0,0,0)' },
    hovermode: 'x unified', hoverlabel: { bgcolor: colour('--page'), font: { color: colour('--text') } },
    dragmode: touch ? false : 'zoom',  // a finger that scrolls the page must not zoom
  };
  const config = {
    responsive: true, typesetMath: false, displaylogo: false, displayModeBar: touch ? true : 'hover',
    modeBarButtons: [['zoomIn2d', 'zoomOut2d', 'resetScale2d', 'toImage']],
  };
  Plotly.react(element, chart.lines.flatMap((line) => traces(line)), layout, config);
  drawn.add(element);
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }
}, { rootMargin: '200px' });
document.querySelectorAll('.chart').forEach((element) => watcher.observe(element));
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawn.forEach(draw));
