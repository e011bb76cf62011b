//! Floats as bits that can be compared and subtracted.

/// The number that a 16-bit float's bits stand for (IEEE 754-2008, binary16).
#[inline(always)]
pub(super) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    match exponent {
        0 => f32::from_bits(sign | 0x3380_0000) * fraction as f32,
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The bits of a float as a number that grows with it.
#[inline(always)]
pub(super) fn ordered(bits: u32, width: u32) -> i64 {
    let sign = 1u32 << (width - 1);
    let magnitude = i64::from(bits & (sign - 1));
    if bits & sign != 0 {
        -magnitude - 1
    } else {
        magnitude
    }
}

/// The bits again.
#[inline(always)]
pub(super) fn unordered(number: i64, width: u32) -> u32 {
    let sign = 1i64 << (width - 1);
    if number < 0 {
        ((-number - 1).min(sign - 1) | sign) as u32
    } else {
        number.min(sign - 1) as u32
    }
}

/// Bits that a number takes.
pub(super) fn log2(value: i64) -> usize {
    (64 - value.unsigned_abs().leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_the_standard_says() {
        let known = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x8000, 0.0),
            (0x0400, 6.103_515_6e-5),
        ];
        for (bits, value) in known {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f32::NEG_INFINITY);
    }

    #[test]
    fn ordered_bits_go_both_ways() {
        for bits in [0u32, 1, 0x3c00, 0x7fff, 0x8000, 0x8001, 0xffff] {
            assert_eq!(unordered(ordered(bits, 16), 16), bits);
        }
        for bits in [0u32, 0x3f80_0000, 0x8000_0000, u32::MAX, 0x7fff_ffff] {
            assert_eq!(unordered(ordered(bits, 32), 32), bits);
        }
    }
}
