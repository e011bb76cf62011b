//! What each subject looks like in each reading.

use rand::{Rng, RngExt};

use super::paint::{Canvas, Colour, Stroke, mixed};

/// Skin tones, from the lightest to the darkest (after the Monk scale, every other one).
pub const TONES: [Colour; 6] = [
    [240.0, 214.0, 190.0],
    [219.0, 180.0, 145.0],
    [178.0, 128.0, 90.0],
    [133.0, 88.0, 58.0],
    [92.0, 58.0, 40.0],
    [58.0, 38.0, 30.0],
];

fn near(rng: &mut impl Rng, spread: f32) -> [f32; 2] {
    [
        rng.random_range(-spread..spread),
        rng.random_range(-spread..spread),
    ]
}

fn varied(colour: Colour, rng: &mut impl Rng) -> Colour {
    colour.map(|x| (x + rng.random_range(-14.0..14.0)).clamp(0.0, 255.0))
}

fn skin_of(tone: usize, rng: &mut impl Rng) -> Colour {
    varied(TONES.get(tone).copied().unwrap_or(TONES[0]), rng)
}

/// What inflammation makes of a skin: red on light, a darker purple on dark skin.
fn inflamed(skin: Colour) -> Colour {
    let light = skin.iter().sum::<f32>() / 765.0;
    mixed([70.0, 22.0, 38.0], [214.0, 70.0, 62.0], light)
}

/// Draws a subject in one of its readings.
pub(super) fn draw(
    canvas: &mut Canvas,
    (subject, reading): (&str, usize),
    tone: usize,
    rng: &mut impl Rng,
) {
    match subject {
        "rapid_test" => rapid_test(canvas, reading, tone, rng),
        "slide" => slide(canvas, reading, rng),
        "muac_tape" => tape(canvas, reading, tone, rng),
        "eye" => eye(canvas, reading, tone, rng),
        "mouth" => mouth(canvas, reading, tone, rng),
        _ => skin(canvas, reading, tone, rng),
    }
}

/// A cassette with a window, in which there are a control line and a test line, or not.
fn rapid_test(canvas: &mut Canvas, reading: usize, tone: usize, rng: &mut impl Rng) {
    let table = match rng.random_bool(0.3) {
        true => skin_of(tone, rng),
        false => std::array::from_fn(|_| rng.random_range(40.0..210.0)),
    };
    canvas.fill(table);
    canvas.texture(0.15, rng);
    let white = varied([236.0, 236.0, 232.0], rng);
    canvas.paint(
        Stroke::rectangle([0.03, 0.04], [0.92, 0.36], [40.0; 3])
            .cover(0.4)
            .soft(0.08),
    );
    canvas.paint(Stroke::rectangle([0.0, 0.0], [0.92, 0.34], white));
    canvas.paint(Stroke::oval(
        [-0.62, 0.0],
        [0.14, 0.14],
        [205.0, 205.0, 205.0],
    ));
    canvas.paint(Stroke::oval(
        [-0.62, 0.0],
        [0.1, 0.1],
        varied([214.0, 170.0, 160.0], rng),
    ));
    let paper = varied([250.0, 246.0, 240.0], rng);
    canvas.paint(Stroke::rectangle([0.2, 0.0], [0.42, 0.15], [190.0; 3]));
    canvas.paint(Stroke::rectangle([0.2, 0.0], [0.4, 0.13], paper));
    let line = varied([176.0, 44.0, 92.0], rng);
    let mut at = |x: f32, strength: f32| {
        let line = Stroke::rectangle([x, 0.0], [0.028, 0.12], line);
        canvas.paint(line.cover(strength).soft(0.025));
    };
    let control = reading != 2;
    let test = reading == 1 || (reading == 2 && rng.random_bool(0.5));
    if control {
        at(0.42, rng.random_range(0.55..1.0));
    }
    if test {
        // Faint lines count too.
        at(0.08, rng.random_range(0.4..1.0));
    }
}

/// A blood film: red cells, and in some of them rings with a dot.
fn slide(canvas: &mut Canvas, reading: usize, rng: &mut impl Rng) {
    canvas.fill([12.0, 10.0, 12.0]);
    let field = varied([232.0, 214.0, 222.0], rng);
    canvas.paint(Stroke::oval([0.0, 0.0], [1.15, 1.15], field));
    let cell = varied([214.0, 158.0, 164.0], rng);
    let stain: Colour = varied([88.0, 36.0, 122.0], rng);
    let mut infected = if reading == 1 {
        rng.random_range(4..9)
    } else {
        0
    };
    for _ in 0..rng.random_range(26..40) {
        let at = near(rng, 0.95);
        if at[0].hypot(at[1]) > 0.98 {
            continue;
        }
        let size = rng.random_range(0.1..0.13);
        canvas.paint(Stroke::oval(
            at,
            [size, size * rng.random_range(0.9..1.1)],
            cell,
        ));
        canvas.paint(
            Stroke::oval(at, [size * 0.4, size * 0.4], field)
                .cover(0.5)
                .soft(0.06),
        );
        if infected > 0 {
            infected -= 1;
            let within = [
                at[0] + rng.random_range(-0.02..0.02),
                at[1] + rng.random_range(-0.02..0.02),
            ];
            canvas.paint(Stroke::oval(within, [0.05, 0.05], stain).ring(0.025));
            canvas.paint(Stroke::oval(
                [within[0] + 0.05, within[1]],
                [0.028, 0.028],
                stain,
            ));
        }
    }
    // A white cell, whatever the film shows.
    if rng.random_bool(0.6) {
        let at = near(rng, 0.6);
        canvas.paint(Stroke::oval(
            at,
            [0.2, 0.19],
            varied([206.0, 180.0, 214.0], rng),
        ));
        for _ in 0..3 {
            let lobe = [
                at[0] + rng.random_range(-0.08..0.08),
                at[1] + rng.random_range(-0.08..0.08),
            ];
            canvas.paint(Stroke::oval(lobe, [0.075, 0.06], stain));
        }
    }
}

/// A tape around an arm: an arrow points into one of its three zones.
fn tape(canvas: &mut Canvas, reading: usize, tone: usize, rng: &mut impl Rng) {
    canvas.fill(std::array::from_fn(|_| rng.random_range(40.0..200.0)));
    canvas.texture(0.15, rng);
    let arm = skin_of(tone, rng);
    canvas.paint(Stroke::rectangle([0.0, 0.0], [0.62, 1.6], arm).soft(0.06));
    canvas.paint(
        Stroke::rectangle([0.5, 0.0], [0.12, 1.6], [0.0; 3])
            .cover(0.25)
            .soft(0.15),
    );
    let white = varied([240.0, 240.0, 238.0], rng);
    canvas.paint(Stroke::rectangle([0.0, 0.0], [0.95, 0.3], white));
    let zones: [Colour; 3] = [
        [64.0, 160.0, 76.0],
        [240.0, 206.0, 60.0],
        [206.0, 46.0, 48.0],
    ];
    let arrow = rng.random_range(-0.5..0.5f32);
    // The zone under the arrow, and on each side what comes before and after it.
    let half = rng.random_range(0.16..0.3f32);
    let within = rng.random_range(-0.6..0.6) * half;
    for (at, zone) in zones.iter().enumerate() {
        let offset = (at as f32 - reading as f32) * 2.0 * half;
        let (left, right) = match at {
            0 => (-1.0, offset + half),
            1 => (offset - half, offset + half),
            _ => (offset - half, 1.0),
        };
        let (left, right) = (
            (arrow + within + left.max(-2.0)).max(-0.9),
            (arrow + within + right).min(0.9),
        );
        if right > left {
            let middle = [(left + right) / 2.0, 0.06];
            let zone = Stroke::rectangle(middle, [(right - left) / 2.0, 0.16], varied(*zone, rng));
            canvas.paint(zone);
        }
    }
    canvas.paint(Stroke::rectangle([arrow, -0.02], [0.02, 0.24], [20.0; 3]));
    canvas.paint(Stroke::rectangle([arrow, -0.24], [0.09, 0.05], [20.0; 3]));
}

/// An open eye.
fn eye(canvas: &mut Canvas, reading: usize, tone: usize, rng: &mut impl Rng) {
    let lid = skin_of(tone, rng);
    canvas.fill(lid);
    canvas.texture(0.12, rng);
    let open = rng.random_range(0.36..0.5);
    canvas
        .paint(Stroke::oval([0.0, 0.0], [0.86, open + 0.1], mixed(lid, [0.0; 3], 0.25)).soft(0.1));
    let red = if reading == 1 {
        rng.random_range(0.25..0.6)
    } else {
        rng.random_range(0.0..0.12)
    };
    let white = mixed(varied([238.0, 234.0, 228.0], rng), [214.0, 92.0, 88.0], red);
    canvas.paint(Stroke::oval([0.0, 0.0], [0.78, open], white).soft(0.05));
    let to = rng.random_range(-0.2..0.2);
    let iris = varied([74.0, 46.0, 30.0], rng);
    canvas.paint(Stroke::oval([to, 0.0], [0.34, 0.34], iris).soft(0.03));
    canvas.paint(Stroke::oval([to, 0.0], [0.14, 0.14], [8.0; 3]));
    if reading == 2 {
        // A cloud over the cornea.
        let part = [
            to + rng.random_range(-0.12..0.12),
            rng.random_range(-0.12..0.12),
        ];
        let size = rng.random_range(0.18..0.34);
        let cloud = Stroke::oval(
            part,
            [size, size * rng.random_range(0.8..1.1)],
            [206.0, 212.0, 216.0],
        );
        canvas.paint(cloud.cover(rng.random_range(0.65..0.95)).soft(0.1));
    } else {
        canvas.paint(Stroke::oval([to + 0.1, -0.12], [0.05, 0.05], [250.0; 3]));
    }
    if reading == 1 {
        let pus = varied([222.0, 206.0, 116.0], rng);
        for _ in 0..rng.random_range(3..7) {
            let side = if rng.random_bool(0.5) { -1.0 } else { 1.0 };
            let at = [
                rng.random_range(-0.6..0.6f32),
                side * open * rng.random_range(0.7..1.0),
            ];
            let size = [rng.random_range(0.06..0.16), rng.random_range(0.04..0.09)];
            canvas.paint(Stroke::oval(at, size, pus).soft(0.05).cover(0.9));
        }
    }
    for i in 0..9 {
        let x = -0.7 + i as f32 * 0.17;
        let lash = Stroke::rectangle([x, -open - 0.08], [0.012, 0.09], [20.0, 16.0, 14.0]);
        canvas.paint(lash.turned(-x * 0.6));
    }
}

/// An open mouth.
fn mouth(canvas: &mut Canvas, reading: usize, tone: usize, rng: &mut impl Rng) {
    let face = skin_of(tone, rng);
    canvas.fill(face);
    canvas.texture(0.12, rng);
    let lips = mixed(face, [168.0, 72.0, 78.0], 0.55);
    canvas.paint(Stroke::oval([0.0, 0.0], [0.88, 0.68], lips).soft(0.05));
    let flesh = varied([186.0, 84.0, 86.0], rng);
    canvas.paint(Stroke::oval(
        [0.0, 0.0],
        [0.74, 0.54],
        mixed(flesh, [40.0, 8.0, 12.0], 0.5),
    ));
    canvas.paint(Stroke::oval([0.0, 0.22], [0.52, 0.36], flesh).soft(0.08));
    for i in 0..6 {
        let x = -0.4 + i as f32 * 0.16;
        let tooth = Stroke::rectangle(
            [x, -0.42 + x * x * 0.4],
            [0.07, 0.09],
            [240.0, 236.0, 220.0],
        );
        canvas.paint(tooth);
    }
    let (count, size) = match reading {
        0 => (0, 0.0),
        1 => (rng.random_range(2..6), rng.random_range(0.05..0.08)),
        _ => (rng.random_range(1..4), rng.random_range(0.14..0.22)),
    };
    for _ in 0..count {
        let at = [rng.random_range(-0.45..0.45), rng.random_range(-0.1..0.42)];
        let rim = [150.0, 26.0, 34.0];
        canvas.paint(
            Stroke::oval(at, [size * 1.4, size * 1.3], rim)
                .soft(0.05)
                .cover(0.8),
        );
        if reading == 1 {
            canvas.paint(Stroke::oval(at, [size, size], [238.0, 226.0, 190.0]).soft(0.03));
        } else {
            canvas.paint(Stroke::oval(at, [size, size * 0.9], [120.0, 110.0, 96.0]).soft(0.04));
            canvas.paint(Stroke::oval(at, [size * 0.6, size * 0.5], [52.0, 16.0, 20.0]).soft(0.05));
        }
    }
}

/// Skin, from near.
fn skin(canvas: &mut Canvas, reading: usize, tone: usize, rng: &mut impl Rng) {
    let skin = skin_of(tone, rng);
    canvas.fill(skin);
    canvas.texture(0.14, rng);
    for _ in 0..rng.random_range(0..5) {
        let hair = Stroke::rectangle(near(rng, 0.9), [0.16, 0.008], mixed(skin, [0.0; 3], 0.6));
        canvas.paint(hair.turned(rng.random_range(0.0..3.1)));
    }
    if rng.random_bool(0.3) {
        canvas.paint(Stroke::oval(
            near(rng, 0.8),
            [0.035, 0.035],
            mixed(skin, [20.0, 10.0, 8.0], 0.7),
        ));
    }
    let sore = inflamed(skin);
    match reading {
        0 => {}
        1..4 => spots(canvas, reading, (skin, sore), rng),
        _ => sores(canvas, reading, (skin, sore), rng),
    }
}

/// What is small and many: scabies, ringworm, chickenpox.
fn spots(canvas: &mut Canvas, reading: usize, (skin, sore): (Colour, Colour), rng: &mut impl Rng) {
    match reading {
        // Scabies: small papules in groups, and burrows.
        1 => {
            for _ in 0..3 {
                let group = near(rng, 0.6);
                for _ in 0..rng.random_range(6..11) {
                    let at = [
                        group[0] + rng.random_range(-0.3..0.3),
                        group[1] + rng.random_range(-0.3..0.3),
                    ];
                    canvas.paint(Stroke::oval(at, [0.035, 0.035], sore).soft(0.03));
                }
                let burrow = Stroke::rectangle(group, [0.18, 0.012], mixed(skin, [255.0; 3], 0.5));
                canvas.paint(burrow.turned(rng.random_range(0.0..3.1)));
            }
        }
        // Ringworm: a scaly ring with a clear middle.
        2 => {
            for _ in 0..rng.random_range(1..3) {
                let (at, size) = (near(rng, 0.35), rng.random_range(0.3..0.5));
                canvas.paint(
                    Stroke::oval(at, [size, size], sore)
                        .ring(0.12)
                        .soft(0.05)
                        .cover(0.85),
                );
                for i in 0..12 {
                    let (sin, cos) = (i as f32 * 0.52).sin_cos();
                    let scale = [at[0] + cos * size, at[1] + sin * size];
                    canvas.paint(Stroke::oval(
                        scale,
                        [0.03, 0.02],
                        mixed(skin, [255.0; 3], 0.6),
                    ));
                }
            }
        }
        // Chickenpox: blisters, each with a halo, all over.
        _ => {
            for _ in 0..rng.random_range(9..16) {
                let at = near(rng, 0.95);
                canvas.paint(Stroke::oval(at, [0.11, 0.11], sore).soft(0.06).cover(0.75));
                canvas.paint(Stroke::oval(
                    at,
                    [0.05, 0.05],
                    mixed(skin, [250.0, 244.0, 220.0], 0.75),
                ));
            }
        }
    }
}

/// What is large and few: impetigo, an abscess, cellulitis.
fn sores(canvas: &mut Canvas, reading: usize, (skin, sore): (Colour, Colour), rng: &mut impl Rng) {
    match reading {
        // Impetigo: crusts of the colour of honey.
        4 => {
            for _ in 0..rng.random_range(3..6) {
                let at = near(rng, 0.5);
                let size = [rng.random_range(0.14..0.28), rng.random_range(0.12..0.22)];
                canvas.paint(
                    Stroke::oval(at, [size[0] * 1.25, size[1] * 1.25], sore)
                        .soft(0.06)
                        .cover(0.7),
                );
                let crust = varied([204.0, 154.0, 56.0], rng);
                canvas.paint(Stroke::oval(at, size, crust).soft(0.04).cover(0.95));
                canvas.paint(
                    Stroke::oval(at, [size[0] * 0.4, size[1] * 0.4], [140.0, 92.0, 30.0])
                        .cover(0.6)
                        .soft(0.05),
                );
            }
        }
        // An abscess: one swelling, with a yellow head.
        5 => {
            let (at, size) = (near(rng, 0.25), rng.random_range(0.36..0.55));
            canvas.paint(
                Stroke::oval(at, [size * 1.2, size * 1.2], sore)
                    .soft(0.3)
                    .cover(0.6),
            );
            canvas.paint(
                Stroke::oval(at, [size * 0.7, size * 0.7], mixed(skin, [255.0; 3], 0.25))
                    .soft(0.25)
                    .cover(0.6),
            );
            let head = rng.random_range(0.09..0.16);
            canvas.paint(
                Stroke::oval(at, [head, head], varied([232.0, 214.0, 128.0], rng)).soft(0.04),
            );
        }
        // Cellulitis: a wide hot field without an edge.
        _ => {
            let (at, turn) = (near(rng, 0.35), rng.random_range(0.0..3.1));
            let field = Stroke::oval(
                at,
                [rng.random_range(0.7..1.1), rng.random_range(0.5..0.8)],
                sore,
            );
            canvas.paint(
                field
                    .turned(turn)
                    .soft(0.5)
                    .cover(rng.random_range(0.6..0.9)),
            );
        }
    }
}

fn any_colour(rng: &mut impl Rng) -> Colour {
    std::array::from_fn(|_| rng.random_range(0.0..255.0))
}

/// None of all this: noise, stripes, a shuffled picture, blots, or what else lies about.
pub(super) fn nothing(canvas: &mut Canvas, tone: usize, rng: &mut impl Rng) {
    canvas.fill(any_colour(rng));
    match rng.random_range(0..6u8) {
        0 => canvas.noise(rng),
        1 => {
            let count = rng.random_range(3..14);
            for i in 0..count {
                let x = -1.3 + 2.6 * i as f32 / count as f32;
                canvas.paint(Stroke::rectangle(
                    [x, 0.0],
                    [0.6 / count as f32, 1.8],
                    any_colour(rng),
                ));
            }
        }
        2 => {
            let subjects = ["rapid_test", "slide", "muac_tape", "eye", "mouth"];
            let subject = subjects[rng.random_range(0..5usize)];
            draw(canvas, (subject, rng.random_range(0..2)), tone, rng);
            canvas.shuffled(rng);
        }
        3 => canvas.texture(0.5, rng),
        4 => {
            for _ in 0..rng.random_range(4..20) {
                let half = [rng.random_range(0.05..0.5), rng.random_range(0.05..0.5)];
                let blot = match rng.random_bool(0.5) {
                    true => Stroke::rectangle(near(rng, 1.0), half, any_colour(rng)),
                    false => Stroke::oval(near(rng, 1.0), half, any_colour(rng)),
                };
                canvas.paint(
                    blot.turned(rng.random_range(0.0..3.1))
                        .soft(rng.random_range(0.02..0.3)),
                );
            }
        }
        // A page of writing.
        _ => {
            canvas.fill(varied([232.0, 230.0, 222.0], rng));
            for row in 0..9 {
                let y = -0.9 + row as f32 * 0.22;
                let mut x = -0.95;
                while x < 0.9 {
                    let long = rng.random_range(0.03..0.14);
                    canvas.paint(Stroke::rectangle([x + long, y], [long, 0.035], [50.0; 3]));
                    x += long * 2.0 + 0.06;
                }
            }
        }
    }
}
