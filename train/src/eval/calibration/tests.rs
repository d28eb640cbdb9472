//! Calibration against published figures, by hand, and by properties.

use std::io::Read;

use proptest::prelude::*;
use vitrum_tests::real_data;

use super::scores::mean;
use super::*;

/// An .npy file of little-endian f32 in C order: its shape and values.
fn npy(path: &std::path::Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\0", "not version 1.0 of .npy");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    let dims = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    let dims = dims.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let values = bytes[10 + length..].chunks_exact(4);
    (dims, values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[test]
fn equals_the_published_figures_of_a_real_model() {
    let (Some(logits), Some(labels)) =
        (real_data("vit-mnist/test_logits.npy"), real_data("mnist/t10k-labels-idx1-ubyte.gz"))
    else {
        return;
    };
    let (dims, logits) = npy(&logits);
    assert_eq!(dims, [10_000, 10]);
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(labels).unwrap()).read_to_end(&mut raw).unwrap();
    assert_eq!(raw[..8], [0, 0, 8, 1, 0, 0, 0x27, 0x10], "an idx1 file of 10,000 bytes");
    let labels: Vec<i32> = raw[8..].iter().map(|&label| i32::from(label)).collect();

    let is = Calibration::from_logits(&logits, 10, &labels).unwrap();
    assert_eq!((is.correct, is.total), (9721, 10_000));
    let figures = [is.accuracy, is.nll, is.brier, is.ece15, is.ece10, is.mce15, is.adaptive_ece15];
    let known = ["0.9721000", "0.0871302", "0.0417853", "0.0069410", "0.0066903", "0.1504441", "0.0068915"];
    assert_eq!(figures.map(|figure| format!("{figure:.7}")), known);
    assert_eq!(is.bins.iter().map(|bin| bin.count).sum::<usize>(), 10_000);
}

#[test]
fn bins_are_half_open_and_a_confidence_of_one_lies_in_the_last() {
    let rows = [0.5, 0.5, 1.0, 0.0, 0.6, 0.4, 0.4, 0.6];
    let bins = Scores::from_probabilities(&rows, 2, &[0, 0, 1, 1]).unwrap().reliability(10);
    let counts: Vec<usize> = bins.iter().map(|bin| bin.count).collect();
    assert_eq!(counts, [0, 0, 0, 0, 1, 2, 0, 0, 0, 1], "0.5 in (.4, .5], 0.6 in (.5, .6], 1 in (.9, 1]");
    assert_eq!((bins[5].confidence, bins[5].accuracy, bins[9].accuracy), (0.6, 0.5, 1.0));
}

#[test]
fn hand_computed_example() {
    // Confidences .9 (right), .9 (wrong), .6 (right): two bins of ten with gaps .4 and .4.
    let rows = [0.9, 0.1, 0.9, 0.1, 0.6, 0.4];
    let scores = Scores::from_probabilities(&rows, 2, &[0, 1, 0]).unwrap();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    close(scores.ece(10), 0.4);
    close(scores.mce(10), 0.4);
    close(scores.brier(), (0.02 + 1.62 + 0.32) / 3.0);
    close(scores.nll(), -(0.9_f64.ln() + 0.1_f64.ln() + 0.6_f64.ln()) / 3.0);
    // Equal mass over two bins: {.6, .9} and {.9}, whichever .9 sorts first: the right one, as the sort is stable.
    close(scores.adaptive_ece(2), 2.0 / 3.0 * 0.25 + 1.0 / 3.0 * 0.9);
}

#[test]
fn bad_input_is_refused_by_name() {
    let error = |logits: &[f32], classes, labels: &[i32]| {
        Scores::from_logits(logits, classes, labels).unwrap_err().problem().to_owned()
    };
    assert!(error(&[0.0; 4], 2, &[0]).contains("one row"));
    assert!(error(&[], 2, &[]).contains("at least one"));
    assert!(error(&[0.0; 2], 2, &[2]).contains("no class"));
    assert!(error(&[0.0; 2], 2, &[-1]).contains("no class"));
    assert!(error(&[f32::NAN, 0.0], 2, &[0]).contains("finite"));
    assert!(Scores::from_probabilities(&[0.7, 0.7], 2, &[0]).is_err());
}

/// Logits [n, 4] in tenths, with labels.
fn samples() -> impl Strategy<Value = (Vec<f32>, Vec<i32>)> {
    (1..60_usize).prop_flat_map(|n| {
        (prop::collection::vec((-80..80_i16).prop_map(|v| f32::from(v) / 10.0), n * 4), prop::collection::vec(0..4, n))
    })
}

proptest! {
    #[test]
    fn one_sign_of_gap_makes_every_binning_equal((logits, mut labels) in samples(), right in any::<bool>()) {
        // All right, or all wrong: every bin errs to the same side, so the gaps add up without cancelling.
        for (row, label) in logits.chunks_exact(4).zip(&mut labels) {
            let best = row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
            *label = i32::try_from(if right { best } else { (best + 1) % 4 }).unwrap();
        }
        let scores = Scores::from_logits(&logits, 4, &labels).unwrap();
        prop_assert_eq!(scores.accuracy(), if right { 1.0 } else { 0.0 });
        let gap = (scores.accuracy() - mean(&scores.samples, |score| score.confidence)).abs();
        for is in [scores.ece(15), scores.ece(10), scores.adaptive_ece(15)] {
            prop_assert!((is - gap).abs() < 1e-12);
        }
    }

    #[test]
    fn shifting_logits_changes_nothing_and_bounds_hold((logits, labels) in samples()) {
        let is = Calibration::from_logits(&logits, 4, &labels).unwrap();
        // 64 is exact on tenths only up to rounding of f32, hence the tolerance.
        let shifted: Vec<f32> = logits.iter().map(|v| v + 64.0).collect();
        let moved = Scores::from_logits(&shifted, 4, &labels).unwrap();
        prop_assert!((moved.nll() - is.nll).abs() < 1e-4 && (moved.brier() - is.brier).abs() < 1e-4);
        prop_assert!(is.ece15 <= is.mce15 + 1e-12 && is.mce15 <= 1.0);
        prop_assert!((0.0..=2.0).contains(&is.brier) && is.nll >= 0.0);
        prop_assert_eq!(is.bins.iter().map(|bin| bin.count).sum::<usize>(), labels.len());
        let probabilities: Vec<f64> = logits.chunks_exact(4).flat_map(|row| {
            let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
            row.iter().map(move |&v| f64::from(v).exp() / sum)
        }).collect();
        let again = Scores::from_probabilities(&probabilities, 4, &labels).unwrap();
        prop_assert!((again.nll() - is.nll).abs() < 1e-9 && (again.brier() - is.brier).abs() < 1e-12);
    }
}

#[test]
fn equals_numpy_in_f64_on_the_golden_logits() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/calibration_golden.safetensors");
    let file = models::tensor_file::TensorFile::open(path).unwrap();
    for set in ["drawn", "saturated"] {
        let known = |name: &str| file.read(&format!("{set}.{name}")).unwrap().to_f64()[0];
        let logits = file.read(&format!("{set}.logits")).unwrap();
        let classes = logits.dims()[1];
        let labels = file.read(&format!("{set}.labels")).unwrap().values::<i32>().unwrap().to_vec();
        let is = Calibration::from_logits(logits.values().unwrap(), classes, &labels).unwrap();
        let fit = Temperature::fit(&logits.to_f64(), classes, &labels).unwrap();
        let after = scaled(&logits.to_f64(), classes, fit.value);
        let after = Calibration::of(&Scores::from_probabilities(&after, classes, &labels).unwrap());
        let mut figures = is.measures();
        figures.extend([
            ("temperature", fit.value),
            ("nll_after", after.nll),
            ("ece15_after", after.ece15),
            ("nll", fit.nll_before),
            ("nll_after", fit.nll_after),
        ]);
        for (name, value) in figures {
            assert!((value - known(name)).abs() < 1e-10, "{set}: {name} is {value}, not {}", known(name));
        }
    }
}

#[test]
fn selective_measures_by_hand() {
    // Surest first: right, wrong, then a tie of one right and one wrong.
    let rows = [0.9, 0.1, 0.8, 0.2, 0.6, 0.4, 0.6, 0.4];
    let scores = Scores::from_probabilities(&rows, 2, &[0, 1, 0, 1]).unwrap();
    // Risks 0, 1/2, then 1/3 or 2/3 with equal chances, then 2/4.
    assert!((scores.aurc() - (0.0 + 0.5 + 0.5 + 0.5) / 4.0).abs() < 1e-12);
    // Pairs right > wrong: .9 beats both, .6 loses to .8 and ties with .6.
    assert!((scores.auroc().unwrap() - 2.5 / 4.0).abs() < 1e-12);
    assert_eq!(Scores::from_probabilities(&rows, 2, &[0; 4]).unwrap().auroc(), None, "nothing is wrong");
    let even = Scores::from_probabilities(&[0.5, 0.5, 1.0, 0.0], 2, &[0, 0]).unwrap();
    assert!((even.entropy() - 0.5 * 2.0_f64.ln()).abs() < 1e-15, "0 ln 0 is 0");
}

#[test]
fn temperatures_at_the_ends_and_without_information() {
    // All right: NLL falls for ever as T falls. All wrong: as T grows.
    let logits = [3.0, 0.0, 0.0, 2.0];
    let right = Temperature::fit(&logits, 2, &[0, 1]).unwrap();
    assert_eq!((right.value, right.at_bound), (0.01, true));
    let wrong = Temperature::fit(&logits, 2, &[1, 0]).unwrap();
    assert_eq!((wrong.value, wrong.at_bound), (100.0, true));
    let flat = Temperature::fit(&[0.5; 4], 2, &[0, 1]).unwrap();
    assert_eq!((flat.value, flat.at_bound), (1.0, false));
    // A class of probability 0 that is not the label takes no part; as a label it is refused.
    let with = [1.0, 0.0, f64::NEG_INFINITY, 1.0, 0.0, f64::NEG_INFINITY, 1.0, 0.0, f64::NEG_INFINITY];
    let without = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    let fit = |logits: &[f64], classes| Temperature::fit(logits, classes, &[0, 0, 1]).unwrap().value;
    assert!((fit(&with, 3) - fit(&without, 2)).abs() < 1e-12);
    // p(0) = 2/3 exactly: e^(1/T) = 2.
    assert!((fit(&without, 2) - 1.0 / 2.0_f64.ln()).abs() < 1e-12);
    let error = |logits: &[f64], labels: &[i32]| Temperature::fit(logits, 3, labels).unwrap_err().to_string();
    assert!(error(&with, &[0, 0, 2]).contains("probability 0"));
    assert!(error(&with, &[0, 0, 3]).contains("no class"));
    assert!(error(&[f64::NAN; 3], &[0]).contains("NaN"));
    assert!(error(&[], &[]).contains("at least one"));
}

/// Logits of 700 samples and 5 classes, more than one block of rows, of which seven in ten are right.
fn many(seed: u64) -> (Vec<f64>, Vec<i32>) {
    let draw = engine::rng::Philox::new(seed, 0, engine::rng::Stream::named("calibration.test"));
    let logits: Vec<f64> = (0..3500).map(|i| 4.0 * f64::from(draw.normal(0, i))).collect();
    let label = |(i, row): (usize, &[f64])| {
        let best = (0..5).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        i32::try_from(if draw.uniform(1, i) < 0.7 { best } else { (best + 1) % 5 }).unwrap()
    };
    let labels = logits.chunks_exact(5).enumerate().map(label).collect();
    (logits, labels)
}

#[test]
fn a_fit_has_the_same_bits_on_any_number_of_threads() {
    let (logits, labels) = many(1);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Temperature::fit(&logits, 5, &labels).unwrap())
    };
    let (one, three) = (on(1), on(3));
    assert_eq!(one.value.to_bits(), three.value.to_bits());
    assert_eq!(one.nll_after.to_bits(), three.nll_after.to_bits());
}

proptest! {
    /// The fitted NLL is the least, and logits that are c times as large get a temperature c times as high.
    #[test]
    fn a_fit_is_the_minimum_and_follows_the_scale(seed in 0..1000_u64, scale in 0.2..5.0_f64) {
        let (logits, labels) = many(seed);
        let fit = Temperature::fit(&logits, 5, &labels).unwrap();
        let nll = |t: f64| {
            let probabilities = scaled(&logits, 5, t);
            Scores::from_probabilities(&probabilities, 5, &labels).unwrap().nll()
        };
        prop_assert!((nll(fit.value) - fit.nll_after).abs() < 1e-12 && fit.nll_after <= fit.nll_before);
        for factor in [0.5, 0.99, 1.01, 2.0] {
            prop_assert!(nll(fit.value * factor) > fit.nll_after, "{} at {}", fit.value, factor);
        }
        let larger: Vec<f64> = logits.iter().map(|z| scale * z).collect();
        let again = Temperature::fit(&larger, 5, &labels).unwrap();
        prop_assert!((again.value / (scale * fit.value) - 1.0).abs() < 1e-10);
    }

    #[test]
    fn selective_measures_equal_their_definitions_and_ignore_the_order(
        (logits, labels) in samples(),
        rotate in 0..60_usize,
    ) {
        let scores = Scores::from_logits(&logits, 4, &labels).unwrap();
        let outcomes = scores.outcomes();
        let pairs = || outcomes.iter().flat_map(|a| outcomes.iter().map(move |b| (a, b))).filter(|(a, b)| a.1 && !b.1);
        let won: f64 = pairs().map(|(a, b)| if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 }).sum();
        let count = pairs().count();
        match scores.auroc() {
            Some(auroc) => prop_assert!((auroc - won / count as f64).abs() < 1e-12),
            None => prop_assert_eq!(count, 0),
        }
        prop_assert!((0.0..=1.0).contains(&scores.aurc()));
        let (mut turned_logits, mut turned) = (logits.clone(), labels.clone());
        turned.rotate_left(rotate % labels.len());
        turned_logits.rotate_left(4 * (rotate % labels.len()));
        let turned = Scores::from_logits(&turned_logits, 4, &turned).unwrap();
        prop_assert!((turned.aurc() - scores.aurc()).abs() < 1e-12);
        prop_assert!((turned.classwise_ece(15) - scores.classwise_ece(15)).abs() < 1e-12);
    }

    /// With two classes the other class's bins mirror this one's, so that gaps of both are alike where no value lies on an edge.
    #[test]
    fn classwise_errors_of_a_perfectly_sure_model_are_its_error_rate(rights in prop::collection::vec(any::<bool>(), 1..50)) {
        let probabilities: Vec<f64> = rights.iter().flat_map(|_| [1.0, 0.0]).collect();
        let labels: Vec<i32> = rights.iter().map(|&right| i32::from(!right)).collect();
        let scores = Scores::from_probabilities(&probabilities, 2, &labels).unwrap();
        let wrong = 1.0 - scores.accuracy();
        for is in [scores.ece(15), scores.classwise_ece(15), scores.adaptive_ece(15), scores.mce(15)] {
            prop_assert!((is - wrong).abs() < 1e-12);
        }
    }
}
