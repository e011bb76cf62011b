use candle_core::*;
use std::time::Instant;
use teach::ops::*;
fn t(n: &str, fl: f64, mut f: impl FnMut()) {
    f();
    let t0 = Instant::now();
    let k = 8;
    for _ in 0..k {
        f()
    }
    let s = t0.elapsed().as_secs_f64() / k as f64;
    println!("{n}: {:.2} ms {:.1} GFLOP/s", s * 1e3, fl / s / 1e9);
}
fn main() {
    let d = Device::Cpu;
    let m = 1920;
    let x = Tensor::randn(0f32, 1., (m, 384), &d).unwrap();
    let w = Tensor::randn(0f32, 1., (1536, 384), &d).unwrap();
    let g = Tensor::randn(0f32, 1., (m, 1536), &d).unwrap();
    let fl = 2.0 * m as f64 * 384. * 1536.;
    t("fwd x w^T", fl, || {
        x.matmul(&w.t().unwrap()).unwrap();
    });
    t("gx g w", fl, || {
        g.matmul(&w).unwrap();
    });
    t("gw x^T g", fl, || {
        x.t().unwrap().matmul(&g).unwrap();
    });
    t("gw g^T x", fl, || {
        g.t().unwrap().matmul(&x).unwrap();
    });
    let b = Tensor::zeros(1536, DType::F32, &d).unwrap();
    t("bias", 0., || {
        g.apply_op2_no_bwd(&b, &Bias).unwrap();
    });
    t("gelu", 0., || {
        g.apply_op1_no_bwd(&Gelu).unwrap();
    });
    t("ln", 0., || {
        x.apply_op3_no_bwd(
            &Tensor::ones(384, DType::F32, &d).unwrap(),
            &Tensor::zeros(384, DType::F32, &d).unwrap(),
            &LayerNorm,
        )
        .unwrap();
    });
    let q = Tensor::randn(0f32, 1., (192, 10, 1152), &d).unwrap();
    t("attn", 0., || {
        q.apply_op1_no_bwd(&Attention { heads: 6 }).unwrap();
    });
    t("add", 0., || {
        (&x + &x).unwrap();
    });
    t("t contiguous", 0., || {
        w.t().unwrap().contiguous().unwrap();
    });
}
