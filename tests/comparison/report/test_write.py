import csv
import json
import os
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fnoise_mmdet.comparison.plots import colour

SCROLL = """async () => {
    document.querySelectorAll('details').forEach((one) => { one.open = true; });
    for (let y = 0; y < document.body.scrollHeight; y += 400) {
        window.scrollTo(0, y);
        await new Promise((resolve) => setTimeout(resolve, 60));
    }
}"""


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.words: list[str] = []
        self._skip = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skip = tag in ('script', 'style')
        self.sources += [value or '' for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.append(data)


def read(path: Path) -> Text:
    parser = Text()
    parser.feed(path.read_text(encoding='utf-8'))
    return parser


def test_files_and_numbers(report):
    names = {path.name for path in report.iterdir()}
    assert names == {'report.html', 'comparison.json', 'comparison.csv', 'comparison.md', 'curves.csv', 'figures'}
    figures = {path.stem for path in (report / 'figures').glob('*.svg')}
    assert {'differences', 'losses', 'losses_epochs', 'validation_losses', 'ap', 'training'} <= figures
    page = (report / 'report.html').read_text(encoding='utf-8')
    assert page.index('id="verdict"') < page.index('alt="Differences to baseline') < page.index('id="numbers"')
    for figure in figures - {'differences'}:
        image = cv2.imread(str(report / f'figures/{figure}.png'))[..., ::-1]
        for place in range(2):
            ink = (image == np.round(255 * np.array(to_rgb(colour(place))))).all(axis=-1)
            assert ink.sum() > 50, f'{figure} has the curve of condition {place}'

    content = json.loads((report / 'comparison.json').read_text())
    measures = {one['key']: one for one in content['measures']}
    (difference,) = measures['loss']['differences']
    by_hand = [
        measures['loss']['values']['fnoise'][seed] - measures['loss']['values']['baseline'][seed] for seed in '01'
    ]
    assert difference['mean'] == pytest.approx(sum(by_hand) / 2)
    assert difference['interval_seeds_t'][0] < difference['mean'] < difference['interval_seeds_t'][1]
    assert len(measures['coco/bbox_mAP']['differences'][0]['interval_images_bootstrap']) == 2
    assert content['warnings'] == [] and 'model.neck.noise.preset' in content['settings']
    (environment,) = content['environments']
    assert len(environment['runs']) == 4 and {'processor', 'torch'} <= environment['environment'].keys()

    with (report / 'comparison.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert {(row['condition'], row['seed']) for row in rows if row['measure'] == 'loss'} == {
        (name, seed) for name in ('baseline', 'fnoise') for seed in '01'
    }
    with (report / 'curves.csv').open() as file:
        curves = list(csv.DictReader(file))
    losses = [
        row for row in curves if (row['figure'], row['quantity'], row['condition']) == ('losses', 'loss', 'fnoise')
    ]
    assert [float(row['x']) for row in losses] == list(range(1, 9))


def test_the_page_says_it_all_and_needs_no_other_file(report):
    page = read(report / 'report.html')
    text = ' '.join(page.words)
    assert content_in_order(
        text, 'Verdict', 'Numbers', 'Training losses', 'Differences between the configs', 'reproduce'
    )
    assert 'model.neck.noise.preset' in text and 'seed_1' in text and 'torch' in text
    assert 'tools/train.py configs/demo_fnoise.py' in text and 'python x.py' in text
    assert page.sources and all(source.startswith(('data:', '#')) for source in page.sources)


def content_in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_what_is_odd_is_named(broken_report):
    text = ' '.join(read(broken_report / 'report.html').words)
    assert 'is truncated and was skipped' in text
    assert 'baseline/seed_1 does not match the other runs and is excluded' in text
    assert 'fnoise/seed_1 diverged: loss, loss_mask not finite from iteration 4 on' in text
    assert 'excluded' in text and 'NaN' in text
    content = json.loads((broken_report / 'comparison.json').read_text())
    assert content['conditions']['baseline']['excluded'] == ['baseline/seed_1']


def test_names_are_escaped(report):
    text = (report / 'report.html').read_text()
    assert '<script>alert(1)' not in text and '&lt;script&gt;alert(1)' in text


@pytest.fixture(scope='module')
def browser() -> Iterator:
    path = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
    if path is None:
        pytest.skip('no chromium: install it, or name a browser of its kind with CHROMIUM=...')
    playwright = pytest.importorskip('playwright.sync_api')
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu'])
        yield chromium
        chromium.close()


@pytest.mark.parametrize(
    ('width', 'scheme', 'kind'),
    [
        (1200, 'light', 'report'),
        (400, 'dark', 'report'),
        (400, 'light', 'broken_report'),
        pytest.param(400, 'light', 'report', marks=pytest.mark.long),
        pytest.param(1200, 'light', 'broken_report', marks=pytest.mark.long),
        pytest.param(400, 'dark', 'broken_report', marks=pytest.mark.long),
    ],
)
def test_in_a_browser(browser, kind, width, scheme, request):
    """No script error, every chart drawn, every image loaded, nothing wider than the screen, no network."""
    out = request.getfixturevalue(kind)
    page = browser.new_page(viewport=dict(width=width, height=800), color_scheme=scheme)
    errors, addresses = [], []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.on('request', lambda asked: addresses.append(asked.url))
    page.goto((out / 'report.html').as_uri())
    page.evaluate(SCROLL)
    count = len(page.query_selector_all('.chart'))
    assert count > 20
    page.wait_for_function(f"document.querySelectorAll('.chart .main-svg .xy').length >= {count}")
    assert errors == []
    assert [address for address in addresses if not address.startswith(('data:', 'file:', 'blob:'))] == []
    assert page.evaluate('[...document.images].every((image) => image.complete && image.naturalWidth > 0)')
    forest_plots = len(list((out / 'figures').glob('differences.svg')))
    assert page.evaluate('document.images.length') == forest_plots
    assert page.locator('.marked').count() == 2 * 3  # ground truth and two conditions in two photographs
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    page.close()


@pytest.fixture
def page(browser, report):
    page = browser.new_page(viewport=dict(width=1200, height=800))
    page.goto((report / 'report.html').as_uri())
    page.wait_for_selector('[data-ready]', state='attached')
    yield page
    page.close()


def test_the_page_is_small(report):
    assert (report / 'report.html').stat().st_size < 3e6


@pytest.mark.parametrize(
    ('width', 'scheme'),
    [
        (1200, 'light'),
        (400, 'dark'),
        pytest.param(1200, 'dark', marks=pytest.mark.long),
        pytest.param(400, 'light', marks=pytest.mark.long),
    ],
)
def test_axe_finds_no_violation(page, width, scheme):
    axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(dict(width=width, height=800))
    page.evaluate(SCROLL)
    found = axe.run(page).response['violations']
    assert [(one['id'], one['nodes'][0]['html'][:200]) for one in found] == []


def test_the_first_column_of_a_wide_table_stays_in_sight(page):
    page.set_viewport_size(dict(width=320, height=800))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_selector('#losses .data tr')
    moved = page.evaluate(
        """() => {
            const left = (element) => element.getBoundingClientRect().left;
            const wide = [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth);
            return wide.map((one) => {
                one.scrollLeft = one.scrollWidth;
                const first = [...one.querySelectorAll('tr > :first-child:not([colspan])')];
                const off = first.map((cell) => Math.abs(left(cell) - left(one)));
                return [one.closest('section').id, Math.max(...off)];
            });
        }"""
    )
    assert {'numbers', 'runs'} <= {section for section, _ in moved}
    assert [one for one in moved if one[1] > 1] == []


def test_contents_lead_to_every_section(page):
    sections = page.evaluate("[...document.querySelectorAll('section')].map((one) => one.id)")
    links = page.evaluate("[...document.querySelectorAll('nav a')].map((one) => one.hash.slice(1))")
    assert links == sections


def test_smoothing_and_logarithmic_axis(page):
    chart = page.locator('#losses .chart').first
    chart.scroll_into_view_if_needed()
    page.wait_for_selector('#losses .chart .main-svg')

    def drawn():
        return chart.evaluate('element => [element.data[0].y, element.layout.yaxis.type]')

    smoothed, kind = drawn()
    assert kind == 'linear'
    page.select_option('#losses [data-smoothing]', '2')
    more, _ = drawn()
    assert np.ptp(more) < np.ptp(smoothed)
    page.select_option('#losses [data-smoothing]', '0')
    page.check('#losses [data-log]')
    raw, kind = drawn()
    assert kind == 'log' and np.ptp(raw) >= np.ptp(smoothed)


def test_data_behind_a_chart(page, report):
    page.select_option('#losses [data-smoothing]', '0')
    page.locator('#losses .data summary').first.click()
    rows = page.locator('#losses .data').first.locator('tr')
    page.wait_for_selector('#losses .data tr')
    assert rows.count() == 1 + 8  # iterations
    heads = rows.first.locator('th').all_text_contents()
    assert heads == ['iteration', 'baseline', 'fnoise']
    with (report / 'curves.csv').open() as file:
        losses = [row for row in csv.DictReader(file) if (row['figure'], row['quantity']) == ('losses', 'loss')]
    (first,) = [row for row in losses if row['condition'] == 'baseline' and float(row['x']) == 1]
    mean, lowest, highest = (float(f'{float(first[name]):.4g}') for name in ('mean', 'lowest', 'highest'))
    assert rows.nth(1).locator('td').first.text_content() == f'{mean:g} ({lowest:g} to {highest:g})'


def test_detections_are_chosen_by_score_and_kind(page):
    def shown(kind):
        return page.locator(f'.marked g.{kind}').evaluate_all(
            "marks => marks.filter((one) => one.style.display !== 'none').map((one) => Number(one.dataset.score))"
        )

    def choose(threshold):
        page.evaluate(
            """value => {
                const slider = document.querySelector('[data-score]');
                slider.value = value;
                slider.dispatchEvent(new Event('input', { bubbles: true }));
            }""",
            threshold,
        )

    choose(0.05)
    every = [*shown('hit'), *shown('false')]
    middle = round(float(np.median(every)) / 0.05) * 0.05
    choose(middle)
    assert 0 < len([*shown('hit'), *shown('false')]) == sum(score >= middle for score in every) < len(every)
    counts = page.locator('[data-count]').all_text_contents()
    assert sum(int(text.split(' false')[0].split()[-1]) for text in counts) == len(shown('false'))
    page.uncheck('[data-kind=false]')
    assert shown('false') == [] and page.locator('[data-count]').all_text_contents() == counts
    page.uncheck('[data-kind=label]')
    assert not page.locator('text.mark').first.is_visible()


def test_everything_can_be_used_with_the_keyboard(page):
    """Every control is reached by tabs, in the order of the page, and answers to its keys."""
    focus = """() => {
        const one = document.activeElement;
        const all = [...document.querySelectorAll('a[href], summary, select, input, [tabindex="0"]')];
        return [all.indexOf(one), getComputedStyle(one).outlineStyle, one.closest('.chart') !== null];
    }"""
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], summary, select, input, [tabindex="0"]')]
            .map((one, index) => [one, index])
            .filter(([one]) => one.checkVisibility() && !one.closest('.chart')).map(([, index]) => index)"""
    )
    reached = []
    for _ in range(1000):
        page.keyboard.press('Tab')
        place, outline, in_chart = page.evaluate(focus)  # charts have buttons of Plotly's own
        assert outline != 'none', f'the focus of control {place} is seen'
        if not in_chart:
            reached.append(place)
        if len(reached) == len(wanted):
            break
    assert reached == wanted

    page.focus('[data-score]')
    before = float(page.input_value('[data-score]'))
    page.keyboard.press('ArrowRight')
    assert float(page.input_value('[data-score]')) == pytest.approx(before + 0.05)
    assert page.locator('[data-score] + output').text_content() == f'{before + 0.05:g}'
    page.focus('[data-kind=false]')
    page.keyboard.press('Space')
    assert not page.is_checked('[data-kind=false]')
    page.focus('#losses .data summary')
    page.keyboard.press('Enter')
    page.wait_for_selector('#losses .data tr')


def test_on_paper_every_chart_is_drawn_within_the_page(page):
    page.emulate_media(media='print', color_scheme='dark')
    page.set_viewport_size(dict(width=718, height=1000))  # A4 without margins, at 96 pixels per inch
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('.chart .main-svg .xy').length") >= 20
    assert page.evaluate('document.documentElement.scrollWidth') <= 718
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    assert page.evaluate("document.querySelectorAll('details:not([open]):not(.data)').length") == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open]):not(.data)').length") > 0


def test_zoom_and_hover(page):
    chart = page.locator('#losses .chart').first
    chart.scroll_into_view_if_needed()
    page.wait_for_selector('#losses .chart .main-svg')
    box = chart.bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    page.mouse.move(x, y)
    page.wait_for_selector('#losses .chart .hoverlayer .legend', state='attached')
    before = chart.evaluate('element => element.layout.xaxis.range')
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "before => JSON.stringify(document.querySelector('#losses .chart').layout.xaxis.range) !== before",
        arg=json.dumps(before).replace(' ', ''),
    )
    after = chart.evaluate('element => element.layout.xaxis.range')
    assert after[1] - after[0] < before[1] - before[0]
