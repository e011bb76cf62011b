//! Every fused operation held against candle's elementary ones.

use candle_core::{D, Device, Var};

use super::*;

fn var(shape: &[usize], seed: u32) -> Var {
    let count: usize = shape.iter().product();
    let number = |i: u32| {
        ((i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)) % 1000) as f32 / 500.0 - 1.0
    };
    let all: Vec<f32> = (0..count as u32).map(number).collect();
    Var::from_vec(all, shape, &Device::Cpu).unwrap()
}

fn near(a: &Tensor, b: &Tensor) {
    let far = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap();
    let far: f32 = far.to_scalar().unwrap();
    assert!(far < 2e-5, "{far}");
}

/// The same result, and the same gradients of a loss that weighs every number differently.
fn same(vars: &[&Var], fused: impl Fn() -> Tensor, plain: impl Fn() -> Tensor) {
    let (a, b) = (fused(), plain());
    near(&a, &b);
    let weights = var(a.dims(), 99);
    let back = |y: &Tensor| {
        (y * weights.as_tensor())
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap()
    };
    let (ga, gb) = (back(&a), back(&b));
    for var in vars {
        near(
            ga.get(var.as_tensor()).unwrap(),
            gb.get(var.as_tensor()).unwrap(),
        );
    }
}

#[test]
fn fused_operations_are_the_elementary_ones_forward_and_backward() {
    let x = var(&[3, 5, 48], 1);
    let (w, b) = (var(&[48], 2), var(&[48], 3));
    same(
        &[&x, &b],
        || x.apply_op2(b.as_tensor(), Bias).unwrap(),
        || x.broadcast_add(&b).unwrap(),
    );
    same(&[&x], || x.apply_op1(Gelu).unwrap(), || x.gelu().unwrap());
    let plain_norm = || {
        let mean = x.mean_keepdim(D::Minus1).unwrap();
        let centred = x.broadcast_sub(&mean).unwrap();
        let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let normal = centred
            .broadcast_div(&(variance + f64::from(EPSILON)).unwrap().sqrt().unwrap())
            .unwrap();
        normal.broadcast_mul(&w).unwrap().broadcast_add(&b).unwrap()
    };
    same(
        &[&x, &w, &b],
        || {
            x.apply_op3(w.as_tensor(), b.as_tensor(), LayerNorm)
                .unwrap()
        },
        plain_norm,
    );
    let qkv = var(&[2, 5, 96], 4);
    let plain_attention = || {
        let part = |which: usize| {
            let part = qkv.narrow(2, which * 32, 32).unwrap();
            part.reshape((2, 5, 2, 16))
                .unwrap()
                .transpose(1, 2)
                .unwrap()
                .contiguous()
                .unwrap()
        };
        let (q, k, v) = (part(0), part(1), part(2));
        let scores = (q.matmul(&k.t().unwrap().contiguous().unwrap()).unwrap() * 0.25).unwrap();
        let top = scores.max_keepdim(D::Minus1).unwrap().detach();
        let powers = scores.broadcast_sub(&top).unwrap().exp().unwrap();
        let shares = powers
            .broadcast_div(&powers.sum_keepdim(D::Minus1).unwrap())
            .unwrap();
        shares
            .matmul(&v)
            .unwrap()
            .transpose(1, 2)
            .unwrap()
            .reshape((2, 5, 32))
            .unwrap()
    };
    same(
        &[&qkv],
        || qkv.apply_op1(Attention { heads: 2 }).unwrap(),
        plain_attention,
    );
}

#[test]
fn adamw_takes_the_step_of_its_paper() {
    let (w, g) = (var(&[7], 5), var(&[7], 6));
    let (before, gradient): (Vec<f32>, Vec<f32>) = (w.to_vec1().unwrap(), g.to_vec1().unwrap());
    let moments = Mutex::new(Moments::default());
    let rates = Rates {
        rate: 0.01,
        decay: 0.1,
        step: 1,
        clip: 1.0,
    };
    w.as_tensor()
        .inplace_op2(
            g.as_tensor(),
            &AdamW {
                rates,
                moments: &moments,
            },
        )
        .unwrap();
    let after: Vec<f32> = w.to_vec1().unwrap();
    for ((before, g), after) in before.iter().zip(gradient).zip(after) {
        let said = before - 0.01 * (g / (g.abs() + 1e-8) + 0.1 * before);
        assert!((said - after).abs() < 1e-6, "{said} {after}");
    }
}
