//! Outlines of the synthetic classes as signed distances, negative inside. Shapes lie within the unit circle.

/// Coordinates x (right) and y (down).
pub(super) type Point = [f32; 2];

/// Names of the classes, in the order of their labels.
pub(super) const CLASSES: [&str; 10] =
    ["circle", "square", "triangle", "cross", "ring", "star", "bars", "checker", "crescent", "arrow"];

/// Distance from `point` to the outline of `class`: exact, or for unions and differences a bound that is exact near the
/// outline, where antialiasing needs it.
pub(super) fn distance(class: usize, point: Point) -> f32 {
    let [x, y] = point;
    let length = length(point);
    match class {
        0 => length - 0.8,
        1 => rectangle(point, [0.68, 0.68]),
        2 => polygon(point, &TRIANGLE),
        3 => rectangle(point, [0.92, 0.27]).min(rectangle(point, [0.27, 0.92])),
        4 => (length - 0.66).abs() - 0.2,
        5 => polygon(point, &STAR),
        6 => [-0.56, 0.0, 0.56].iter().map(|&at| rectangle([x - at, y], [0.16, 0.68])).fold(f32::INFINITY, f32::min),
        7 => CHECKER.iter().map(|&[u, v]| rectangle([x - u, y - v], [0.235, 0.235])).fold(f32::INFINITY, f32::min),
        8 => (length - 0.88).max(0.7 - self::length([x - 0.42, y])),
        _ => polygon(point, &ARROW),
    }
}

const TRIANGLE: [Point; 3] = [[0.0, -0.95], [0.823, 0.475], [-0.823, 0.475]];

/// Five points on the circle of radius 1, five on that of radius 0.42.
const STAR: [Point; 10] = [
    [0.0, -1.0],
    [0.247, -0.34],
    [0.951, -0.309],
    [0.399, 0.13],
    [0.588, 0.809],
    [0.0, 0.42],
    [-0.588, 0.809],
    [-0.399, 0.13],
    [-0.951, -0.309],
    [-0.247, -0.34],
];

const ARROW: [Point; 7] =
    [[0.98, 0.0], [0.1, 0.72], [0.1, 0.24], [-0.92, 0.24], [-0.92, -0.24], [0.1, -0.24], [0.1, -0.72]];

/// Centres of the filled fields.
const CHECKER: [Point; 5] = [[0.0, 0.0], [-0.47, -0.47], [0.47, -0.47], [-0.47, 0.47], [0.47, 0.47]];

fn length([x, y]: Point) -> f32 {
    (x * x + y * y).sqrt()
}

fn rectangle([x, y]: Point, half: Point) -> f32 {
    let (right, below) = (x.abs() - half[0], y.abs() - half[1]);
    length([right.max(0.0), below.max(0.0)]) + right.max(below).min(0.0)
}

/// Distance to the segment from `a` to `b`.
pub(super) fn segment([x, y]: Point, a: Point, b: Point) -> f32 {
    let (along, from) = ([b[0] - a[0], b[1] - a[1]], [x - a[0], y - a[1]]);
    let squared = (along[0] * along[0] + along[1] * along[1]).max(f32::MIN_POSITIVE);
    let t = ((from[0] * along[0] + from[1] * along[1]) / squared).clamp(0.0, 1.0);
    length([from[0] - t * along[0], from[1] - t * along[1]])
}

/// Nearest edge, and the sign by counting the edges that a ray to the right crosses.
fn polygon(point: Point, corners: &[Point]) -> f32 {
    let [x, y] = point;
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let following = corners.iter().cycle().skip(1);
    for (&a, &b) in corners.iter().zip(following) {
        nearest = nearest.min(segment(point, a, b));
        if (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_lie_within_the_unit_circle_and_their_signs_are_right() {
        // A point inside and one outside of each class, in the order of the classes.
        let inside = [
            [0.0; 2],
            [0.6, 0.6],
            [0.0, -0.8],
            [0.8, 0.0],
            [0.7, 0.0],
            [0.0, -0.9],
            [0.56, 0.6],
            [0.5, 0.5],
            [-0.7, 0.0],
            [0.8, 0.0],
        ];
        let outside = [
            [0.7, 0.7],
            [0.8, 0.0],
            [0.0, 0.6],
            [0.5, 0.5],
            [0.0, 0.0],
            [0.6, 0.3],
            [0.3, 0.0],
            [0.47, 0.0],
            [0.3, 0.0],
            [-0.5, 0.5],
        ];
        for class in 0..CLASSES.len() {
            assert!(distance(class, inside[class]) < 0.0, "{} inside", CLASSES[class]);
            assert!(distance(class, outside[class]) > 0.0, "{} outside", CLASSES[class]);
            for step in 0..360_u16 {
                let angle = f32::from(step).to_radians();
                assert!(distance(class, [1.03 * angle.cos(), 1.03 * angle.sin()]) > 0.0, "{}", CLASSES[class]);
            }
        }
    }

    proptest::proptest! {
        /// A signed distance changes no faster than the position.
        #[test]
        fn distances_are_1_lipschitz(class in 0_usize..10, a in [-1.5_f32..1.5, -1.5_f32..1.5], b in [-1.5_f32..1.5, -1.5_f32..1.5]) {
            let change = (distance(class, a) - distance(class, b)).abs();
            proptest::prop_assert!(change <= length([a[0] - b[0], a[1] - b[1]]) + 1e-5);
        }
    }
}
