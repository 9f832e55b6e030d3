"""The HTML page of an inspection: one file, no script, nothing loaded from anywhere."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deeptalk.corpus.inspect_faces import Face
from deeptalk.corpus.wording import duration
from deeptalk.files import write_text

ASSETS = Path(__file__).parent / "assets"
PLOT_WIDTH, PLOT_HEIGHT, LABEL_HEIGHT = 240, 90, 14
LISTED = 40
"""Speakers listed on the page; the JSON has all."""


def write_page(path: Path, values: Mapping[str, Any], faces: Sequence[tuple[Face, bytes]]) -> None:
    """Write the page of the values of an `Inspection` and of its faces, atomically."""
    own = values["corpus"]
    intro = f"{own['provenance']} Licence: {own['license']}"
    measured = values["measured"]
    footer = (
        f"Rig {own['rig']}, {own['channels']} channels at {own['frame_rate']:g} frames a second. Tables are counted "
        f"whole; motion is measured on {measured['performances']} performances, sound on {measured['speech']} clips. "
        f"Corpus {own['hash'][:12]}. The same numbers: {path.with_suffix('.json').name}."
    )
    parts = {
        "title": html.escape(f"Corpus {own['name']}"),
        "style": (ASSETS / "inspect.css").read_text(encoding="utf-8"),
        "intro": html.escape(intro),
        "body": "\n".join(filter(None, _sections(values, faces))),
        "footer": html.escape(footer),
    }
    pieces = (ASSETS / "inspect.html").read_text(encoding="utf-8").split("{{")
    text = pieces[0]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        text += parts[name] + rest
    write_text(path, text)


def _sections(values: Mapping[str, Any], faces: Sequence[tuple[Face, bytes]]) -> Iterable[str]:
    yield _tiles(values["counts"])
    yield _section("Findings", _findings(values["findings"]))
    yield _section("Faces", _faces(values["faces"], faces))
    yield _section("Splits", _splits(values["counts"]))
    yield _section("Emotions", _emotions(values["balance"]))
    yield _section("Readings", _readings(values["balance"]["readings"]))
    yield _section("Intensity", _intensity(values["intensity"]))
    yield _section("Lengths", _lengths(values["lengths"]))
    yield _section("Channels", _channels(values["channels"]))
    yield _section("Sound and motion", _lag(values["lag"]) + _sound(values["sound"]))
    yield _section("Lip closures", _closures(values["closures"]))
    yield _section("Entropy", _entropy(values["entropy"]))
    yield _section("Import", _import(values["import"]))
    yield _section("Speakers", _speakers(values["balance"]))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>\n{body}</section>" if body else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table whose cells are HTML already where they begin with `<td`, else text."""
    wide = {place for row in rows for place, cell in enumerate(row) if cell.startswith('<td class="wide"')}
    styles = (' class="wide"' if place in wide else "" for place in range(len(header)))
    head = "".join(f'<th scope="col"{style}>{html.escape(cell)}</th>' for style, cell in zip(styles, header))
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{html.escape(c)}</td>" for c in row) + "</tr>"
        for row in rows
    )
    title = f"<h3>{html.escape(caption)}</h3>" if caption else ""
    return f'{title}<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _crossed(table: Mapping[str, Mapping[str, int]], caption: str, first: str) -> str:
    """Counts of rows by columns, each cell shaded by its share of its row."""
    if not table or list(table) == ["unknown"]:
        return ""
    columns = list(next(iter(table.values())))
    rows = []
    for name, row in table.items():
        total = sum(row.values())
        cells = [
            f'<td class="shade" style="--share:{count / total:.3f}">{count}</td>'
            if count
            else '<td class="zero">0</td>'
            for count in row.values()
        ]
        rows.append([name, *cells, *([str(total)] if len(columns) > 1 else [])])
    return f"<div>{_table([first, *columns, *(['all'] if len(columns) > 1 else [])], rows, caption)}</div>"


def _histogram(counts: Sequence[int], labels: Sequence[str], caption: str) -> str:
    """Bars with a label under each, which may be empty; the caption says what is counted."""
    most = max([*counts, 1])
    width = PLOT_WIDTH / len(counts)
    bars = []
    for place, (count, label) in enumerate(zip(counts, labels)):
        height = (PLOT_HEIGHT - 4) * count / most
        bars.append(
            f'<rect class="bar" x="{place * width + 0.5:.1f}" y="{PLOT_HEIGHT - height:.1f}" width="{width - 1:.1f}" '
            f'height="{height:.1f}"><title>{count}</title></rect>'
        )
        if label:
            x, y = (place + 0.5) * width, PLOT_HEIGHT + LABEL_HEIGHT - 3
            bars.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{html.escape(label)}</text>')
    box = f"-8 0 {PLOT_WIDTH + 16} {PLOT_HEIGHT + LABEL_HEIGHT}"
    base = f'<line x1="0" y1="{PLOT_HEIGHT}" x2="{PLOT_WIDTH}" y2="{PLOT_HEIGHT}"/>'
    return (
        f'<figure><svg viewBox="{box}" role="img" aria-label="{html.escape(caption)}">{"".join(bars)}{base}</svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _tiles(counts: Mapping[str, Any]) -> str:
    tiles = (
        (duration(counts["speech_hours"]), "of speech"),
        (f"{counts['speech']:,}", "pieces of speech"),
        (f"{counts['performances']:,}", "performances"),
        (duration(counts["motion_hours"]), "of motion"),
        (f"{counts['speakers']:,}", "speakers"),
        (f"{counts['sentences']:,}", "sentences"),
        (f"{counts['with_phones']:,}", "with phone times"),
    )
    return '<div id="tiles">' + "".join(f"<div><b>{value}</b>{label}</div>" for value, label in tiles) + "</div>"


def _findings(findings: Sequence[Mapping[str, str]]) -> str:
    items = (
        f'<li class="{one["level"]}"><b>{one["level"]}</b><span>{html.escape(one["text"])}</span></li>'
        for one in findings
    )
    return f'<ul id="findings">{"".join(items)}</ul>'


def _faces(text: str, faces: Sequence[tuple[Face, bytes]]) -> str:
    if not faces:
        return f"<p>{html.escape(text)}</p>"
    groups = []
    for group in dict.fromkeys(face.group for face, _ in faces):
        figures = "".join(_face(face, picture) for face, picture in faces if face.group == group)
        groups.append(f'<div><h3>{html.escape(group)}</h3><div class="faces">{figures}</div></div>')
    note = "The most acted frame of a performance of each reading or speaker, of strong performances."
    return f'<p class="small">{note}</p><div class="columns">{"".join(groups)}</div>'


def _face(face: Face, picture: bytes) -> str:
    source = "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
    label = html.escape(face.label)
    picture_html = f'<img src="{source}" alt="{html.escape(face.group)}: {label}">'
    return f"<figure>{picture_html}<figcaption>{label}</figcaption></figure>"


def _splits(counts: Mapping[str, Any]) -> str:
    header = ("split", "speech", "min", "performances", "min", "speakers", "sentences")
    return _table(
        header,
        [
            (
                name,
                f"{one['speech']:,}",
                f"{one['speech_minutes']:.1f}",
                f"{one['performances']:,}",
                f"{one['motion_minutes']:.1f}",
                f"{one['speakers']:,}",
                f"{one['sentences']:,}",
            )
            for name, one in counts["splits"].items()
        ],
    )


def _emotions(balance: Mapping[str, Any]) -> str:
    tables = _crossed(balance["label_by_split"], "What the speech was meant to carry", "emotion")
    tables += _crossed(balance["acted_by_split"], "What the performances act", "emotion")
    crossed = _crossed(balance["acted_by_label"], "Acted (rows) by label of the speech (columns)", "acted")
    if not tables:
        return "<p>No emotion is labelled.</p>"
    return f'<div class="columns">{tables}</div>{crossed}'


def _readings(readings: Mapping[str, Mapping[str, int]]) -> str:
    by_emotion: dict[str, list[str]] = {}
    for name, counts in readings.items():
        for emotion, count in counts.items():
            if name and count:
                by_emotion.setdefault(emotion, []).append(f"{html.escape(name.replace('_', ' '))} {count:,}")
    rows = [(emotion, f'<td class="wide">{", ".join(own)}</td>') for emotion, own in by_emotion.items()]
    return _table(("emotion", "readings, with performances"), rows) if rows else ""


def _intensity(intensity: Mapping[str, Any]) -> str:
    labels = [{0: "0", 5: "0.5", 9: "1"}.get(place, "") for place in range(len(intensity["edges"]) - 1)]
    text = ""
    for kind, title in (("acted", "acted"), ("labelled", "label of the speech")):
        plots = "".join(
            _histogram(one["histogram"], labels, f"{name}, {title}: mean {one['mean']:.2f}, spread {one['std']:.2f}")
            for name, one in intensity[kind].items()
        )
        text += f'<div class="plots small-plots">{plots}</div>' if plots and (kind == "acted" or not text) else ""
    return text


def _lengths(lengths: Mapping[str, Any]) -> str:
    labels = [f"{edge:g}" for edge in lengths["edges"]]
    plots = "".join(
        _histogram(
            one["histogram"],
            labels,
            f"{title} by seconds: {one['least']:.1f} to {one['most']:.1f} s, median {one['median']:.1f} s",
        )
        for kind, title in (("speech", "pieces of speech"), ("motion_alone", "motion without speech"))
        if (one := lengths.get(kind))
    )
    return f'<div class="plots">{plots}</div>'


def _channels(channels: Mapping[str, Any]) -> str:
    if not channels:
        return ""
    rows = [_channel_row(name, one) for name, one in channels.items()]
    half = (len(rows) + 1) // 2
    header = ("channel", "range", "most", "mean", "moves")
    tables = "".join(_table(header, part) for part in (rows[:half], rows[half:]) if part)
    legend = (
        "The pale bar runs from the least to the greatest value, the dark one over mean and spread; "
        "<i>moves</i> is the share of frames above 0.01."
    )
    return f'<p class="small">{legend}</p><div class="columns">{tables}</div>'


def _channel_row(name: str, one: Mapping[str, Any]) -> list[str]:
    low, high = min(0.0, one["least"]), max(1.0, one["most"])

    def bar(kind: str, start: float, end: float) -> str:
        start, end = (100 * (max(low, min(value, high)) - low) / (high - low) for value in (start, end))
        return f'<rect class="{kind}" x="{start:.1f}" y="0" width="{max(end - start, 0.5):.1f}" height="10"/>'

    shapes = bar("back", low, high)
    if not one["dead"]:
        shapes += bar("pale", one["least"], one["most"])
        shapes += bar("bar", max(one["least"], one["mean"] - one["std"]), min(one["most"], one["mean"] + one["std"]))
    drawn = (
        f'<td><svg class="range" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg></td>'
    )
    numbers = [f"{one[key]:.2f}" for key in ("most", "mean")]
    return [name, drawn, *numbers, "dead" if one["dead"] else f"{one['active']:.0%}"]


def _lag(lag: Mapping[str, Any]) -> str:
    if not lag:
        return ""
    caption = (
        f"clips by lag in frames (above 0: the jaw comes after the sound); {lag['clear']} of {lag['clips']} are clear, "
        f"median correlation of all {lag['median_correlation']:.2f}, {lag['within_one_frame']:.0%} within one frame of "
        "the median"
    )
    if not lag["clear"]:
        return (
            f'<p class="small">Jaw and sound: none of {lag["clips"]} measured clips is clear enough to tell a lag.</p>'
        )
    labels = [str(value) if value % 3 == 0 else "" for value in lag["lags"]]
    text = f'<div class="plots">{_histogram(lag["histogram"], labels, caption)}</div>'
    if lag["outliers"]:
        rows = [(o["clip"], f"{o['lag_frames']:+d}", f"{o['correlation']:.2f}") for o in lag["outliers"]]
        text += _table(("clip", "lag, frames", "correlation"), rows, f"Outliers ({lag['outlier_count']})")
    return text


def _sound(sound: Mapping[str, Any]) -> str:
    if not sound:
        return ""
    rows = [
        (title, *(f"{sound[key][p]:.1f}" for p in ("5", "50", "95")))
        for key, title in (("level_db", "level"), ("peak_db", "peak"))
    ]
    text = _table(("dB of full scale", "5 %", "median", "95 %"), rows, "Sound")
    if sound["clipped"]:
        text += f'<p class="small">Clipped: {html.escape(", ".join(sound["clipped"]))}</p>'
    return text


def _closures(closures: Mapping[str, Any]) -> str:
    if not closures:
        return ""
    low, high = closures["bounds_millimetres"]
    by_phone = ", ".join(f"/{phone.lower()}/ {share:.1%}" for phone, share in closures["by_phone"].items())
    text = (
        f"<p>{closures['closed_share']:.1%} of {closures['count']:,} closures reach a gap of {low:+g} to {high:+g} mm "
        "between the named central lip pairs, at the frame of the middle of the phone or one beside it "
        f"({by_phone}).</p>"
    )
    text += _table(
        ("percentile", *closures["gap_millimetres"]),
        [("gap, mm", *(f"{value:+.2f}" for value in closures["gap_millimetres"].values()))],
    )
    if closures["worst"]:
        rows = [
            (o["performance"], f"/{o['phone'].lower()}/", f"{o['gap_millimetres']:+.2f}") for o in closures["worst"]
        ]
        text += _table(("performance", "phone", "gap, mm"), rows, "The worst")
    return text


def _entropy(entropy: Mapping[str, Any]) -> str:
    names = {
        "emotion": "H(emotion)",
        "reading_given_emotion": "H(reading | emotion)",
        "emotion_given_label": "H(emotion | label of the speech)",
        "emotion_and_reading_given_label": "H(emotion, reading | label of the speech)",
    }
    text = ""
    if "drawn" in entropy:
        own = entropy["drawn"]
        rows = [(title, f"{own[key]:.3f}", f"{own[key] / 0.6931472:.3f}") for key, title in names.items() if key in own]
        text += _table(("of the performances as they are", "nats", "bits"), rows)
    if "known" in entropy:
        known = entropy["known"]
        rows = [(name, f"{value:.3f}", f"{value / 0.6931472:.3f}") for name, value in known["by_audible_class"].items()]
        rows.append(("mean over speech", f"{known['mean']:.3f}", f"{known['mean'] / 0.6931472:.3f}"))
        caption = "H(emotion, reading | speech) of the performer, exact"
        text += _table(("speech sounds", "nats", "bits"), rows, caption)
    return f"<div>{text}</div>" if text else ""


def _import(report: Mapping[str, Any]) -> str:
    if not report:
        return ""
    kind, source = html.escape(report["kind"]), html.escape(report["source"])
    text = f"<p>Imported as <b>{kind}</b> from {source}: {report['imported']:,} clips.</p>"
    rows = [
        (what, kind, f"{count:,}")
        for key, what in (("notes", "imported, but"), ("refused", "refused"), ("skipped", "skipped"))
        for kind, count in report[key].items()
    ]
    return text + (_table(("", "why", "clips"), rows) if rows else "")


def _speakers(balance: Mapping[str, Any]) -> str:
    speakers = list(balance["speakers"].items())
    if not speakers:
        return ""
    rows = [(name, f"{one['clips']:,}", f"{one['minutes']:.1f}") for name, one in speakers[:LISTED]]
    more = f'<p class="small">... and {len(speakers) - LISTED} more.</p>' if len(speakers) > LISTED else ""
    table = _table(("speaker", "clips", "min"), rows) + more
    said = balance["clips_per_sentence"]
    text = f'<p class="small">Clips a sentence: {said["least"]} to {said["most"]}, median {said["median"]:g}.</p>'
    return text + (
        table if len(speakers) <= 12 else f"<details><summary>{len(speakers)} speakers</summary>{table}</details>"
    )
