//! A report with everything in it, from made-up data.

use engine::rng::{Philox, Stream};

use super::picture::Strip;
use super::plots::{Axes, Line, lines, reliability, spectrum};
use super::table::{Cell, Column, Table};
use super::{Report, Section};
use crate::eval::calibration::Scores;
use crate::nullspace::exact::{Nullspace, Tolerance, permuted};

const DIMS: [usize; 3] = [3, 32, 32];

fn normal(stream: &str, at: usize) -> f32 {
    Philox::new(1, 0, Stream::named(stream)).normal(0, at)
}

fn table() -> Table {
    let columns = vec![
        Column::text("model"),
        Column::percent("clean").highest(),
        Column::percent("PGD-20, 8/255").highest(),
        Column::number("ECE-15", "", 4).lowest(),
        Column::number("training", "s", 1),
    ];
    let mut table = Table::new("Made-up figures for <this> test.", columns);
    table.push(["baseline".into(), Cell::Measured(0.973, 0.004), 0.012.into(), 0.0312.into(), 61.2.into()]);
    table.push(["adversarial & ARD".into(), Cell::Measured(0.911, 0.006), 0.484.into(), 0.0207.into(), 88.0.into()]);
    table.push(["stochastic".into(), Cell::Measured(0.968, 0.004), None.into(), 0.0154.into(), 64.9.into()]);
    table
}

fn curves() -> (super::plots::Chart, super::plots::Chart) {
    let noisy = |name: &str, rate: f64| {
        let at = |i: usize| (i as f64, 2.3 * (-rate * i as f64).exp() + 0.02 + 0.03 * f64::from(normal(name, i)).abs());
        Line::new(name, (0..120).map(at))
    };
    let axes = Axes {
        title: "Training loss".into(),
        x: "step".into(),
        y: "cross-entropy (nats)".into(),
        log_y: true,
        y_range: None,
    };
    let training =
        lines(&axes, &[noisy("baseline", 0.05), noisy("nullspace", 0.04), noisy("adversarial", 0.012)]).unwrap();
    let eps = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0];
    let falling = |name: &str, scale: f64| Line::new(name, eps.map(|e| (e, 97.0 * (-e / scale).exp())));
    let axes = Axes {
        title: "Accuracy against eps".into(),
        x: "eps (1/255)".into(),
        y: "accuracy (%)".into(),
        log_y: false,
        y_range: Some((0.0, 100.0)),
    };
    let attack =
        lines(&axes, &[falling("baseline", 1.5), falling("nullspace", 2.1), falling("adversarial", 14.0)]).unwrap();
    (training, attack.caption("PGD-20, 256 images, step eps/4, one random start."))
}

fn calibration() -> super::plots::Chart {
    let logits: Vec<f32> = (0..4000).map(|i| 2.2 * normal("logits", i)).collect();
    let labels: Vec<i32> = logits
        .chunks_exact(4)
        .enumerate()
        .map(|(i, row)| {
            // Right where a draw falls below a flattened confidence.
            let best = (0..4).fold(0, |best, k| if row[k] > row[best] { k } else { best });
            let flat = 1.0 / row.iter().map(|v| f64::from((v - row[best]) * 0.6).exp()).sum::<f64>();
            let draw = f64::from(Philox::new(2, 0, Stream::named("labels")).uniform(0, i));
            i32::try_from(if draw < flat { best } else { (best + 1) % 4 }).unwrap()
        })
        .collect();
    let scores = Scores::from_logits(&logits, 4, &labels).unwrap();
    reliability("Reliability, baseline", &scores.reliability(15))
        .unwrap()
        .caption(format!("ECE-15 {:.4}", scores.ece(15)))
}

fn pictures() -> (super::plots::Chart, Strip, Strip) {
    let weight: Vec<f64> = (0..96 * 192).map(|i| f64::from(normal("weight", i)) * (1.0 + (i % 17) as f64)).collect();
    let nullspace = Nullspace::full(&weight, [96, 3, 8, 8], Tolerance::F32).unwrap();
    let chart = spectrum("Patch embedding", &[("W [96, 192]".to_owned(), nullspace.blocks()[0].clone())]).unwrap();
    let image: Vec<f32> = (0..3 * 32 * 32)
        .map(|at| {
            let (channel, y, x) = (at / 1024, (at / 32 % 32) as f32 - 15.5, (at % 32) as f32 - 15.5);
            let inside = (x * x + y * y).sqrt() < 10.0;
            if inside { [0.9, 0.55, 0.2][channel] } else { 0.25 + 0.01 * (y + 16.0) + 0.1 * channel as f32 }
        })
        .collect();
    let noise = nullspace.image_noise(1, 0, 0.15, [32, 32], &[0.25; 3]).unwrap();
    let add = |noise: &[f32]| image.iter().zip(noise).map(|(a, b)| a + b).collect::<Vec<f32>>();
    let (seen, control) = (add(&noise), add(&permuted(&noise, 1, 0)));
    let strip =
        Strip::attack("Nullspace noise, Linf 0.15", &image, &seen, DIMS, ["circle\n99.1%", "circle\n99.1%"]).unwrap();
    let strip = strip.image(&control, DIMS, "permuted control: square\n61.0%").unwrap();
    let attacked = add(&noise.iter().map(|v| v.signum() * 8.0 / 255.0).collect::<Vec<f32>>());
    (chart, strip, Strip::attack("PGD-20, 8/255", &image, &attacked, DIMS, ["circle\n99.1%", "star\n87.3%"]).unwrap())
}

fn sample() -> Report {
    let (training, attack) = curves();
    let (spectrum, null, pgd) = pictures();
    let mut report =
        Report::new("Sample <report>", "vitrum demo --out \"a&b.html\"", "2 cores, x86-64 with AVX-512", 7);
    report.commit = Some("a33ed07".into());
    report.push(
        Section::new("Four models")
            .note("Adversarial training lifts accuracy under attack & costs some clean accuracy.")
            .table(table()),
    );
    report.push(Section::new("Training and attacks").chart(training).chart(attack));
    report.push(Section::new("Calibration").chart(calibration()).chart(calibration()));
    report.push(Section::new("Nullspace").chart(spectrum).strip(null));
    report.push(Section::new("Attack").strip(pgd));
    report
}

#[test]
fn a_report_is_one_self_contained_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    sample().write(&path).unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    for foreign in ["http:", "https:", "<script", "<link", "@import", "url(", "xlink", "xmlns"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let sources: Vec<&str> = page.split("src=").skip(1).collect();
    assert_eq!(sources.len(), 7, "four pictures and three");
    assert!(sources.iter().all(|source| source.starts_with("\"data:image/png;base64,")));
    assert!(!page.contains("href="));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn everything_given_appears_escaped_and_in_order() {
    let page = sample().html();
    let parts = [
        "<h1>Sample &lt;report&gt;</h1>",
        "vitrum demo --out &quot;a&amp;b.html&quot;",
        "2 cores, x86-64 with AVX-512",
        "<dd>7</dd>",
        "a33ed07",
        "attack &amp; costs",
        "figures for &lt;this&gt; test",
        "<strong>97.3 ± 0.4</strong>",
        "adversarial &amp; ARD",
        "<strong>48.4</strong>",
        ">–<",
        "<strong>0.0154</strong>",
        ">64.9<",
        "Training loss",
        "PGD-20, 256 images",
        "ECE-15 0.",
        "96 null dimensions",
        "permuted control",
        "star\n87.3%",
    ];
    parts.iter().fold(0, |from, part| {
        let at = page[from..].find(part);
        from + at.unwrap_or_else(|| panic!("{part:?} is missing, or before its turn"))
    });
    for tag in ["section", "table", "tr", "figure", "svg", "div", "ul", "li", "dl", "main", "text"] {
        let count = |text: &str| page.matches(text).count();
        assert_eq!(
            count(&format!("<{tag}>")) + count(&format!("<{tag} ")) + count(&format!("<{tag}\n")),
            count(&format!("</{tag}>")),
            "{tag}"
        );
    }
}

#[test]
fn charts_carry_their_labels_follow_the_page_and_refuse_nothing_to_draw() {
    let (training, attack) = curves();
    let texts: Vec<&str> =
        training.svg.split("</text>").filter_map(|part| part.rsplit_once('>')).map(|(_, text)| text.trim()).collect();
    for label in ["step", "cross-entropy (nats)", "0.1", "20", "100"] {
        assert!(texts.contains(&label), "{label} is not among {texts:?}");
    }
    assert!(training.svg.contains("\"currentColor\"") && !training.svg.contains("#010203"));
    assert_eq!(
        attack.legend.iter().map(|entry| entry.0.as_str()).collect::<Vec<_>>(),
        ["baseline", "nullspace", "adversarial"]
    );
    let curve = |points: Vec<(f64, f64)>| lines(&Axes::default(), &[Line::new("", points)]);
    assert!(curve(vec![]).is_err() && curve(vec![(0.0, f64::NAN)]).is_err());
    assert!(curve(vec![(1.0, 3.0)]).is_ok(), "one point is enough");
    let whole = curve((0..4).map(|i| (f64::from(i), 1.0)).collect()).unwrap();
    let broken = curve(vec![(0.0, 1.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 1.0)]).unwrap();
    let count = |chart: &super::plots::Chart| chart.svg.matches(&format!("stroke=\"{}\"", chart.legend[0].1)).count();
    assert_eq!((count(&whole), count(&broken)), (1, 2), "a NaN breaks the curve");
    assert!(reliability("", &[]).is_err() && spectrum("", &[]).is_err());
}
