// The arithmetic: projection, spherical harmonics and the tiles, forward and backward. Compiled once per instruction set
// with SPLAT_KERNELS naming the function that hands the kernels out; see kernels.h for what must not be included here.
#include "kernels.h"

#include "lanes.h"

#ifndef SPLAT_KERNELS
#define SPLAT_KERNELS generic_kernels
#define SPLAT_KERNELS_NAME "generic"
#endif

namespace {

const float LN255 = 5.541263545158426f;
const float LEVEL_FAINT = LN255 / 8;                  // s where alpha = 1/255
const float LEVEL_SOLID = 0.001000500333583534f / 8;  // s where alpha = 0.999
const float T_STOP = 1e-4f;

// ---------------------------------------------------------------------------------------------- spherical harmonics

// Real spherical harmonics up to degree 3 as polynomials of the unit direction (Sloan 2013), in the 3DGS order and signs.
template <int K>
LANES_INLINE void harmonics_basis(V8 x, V8 y, V8 z, V8* Y) {
    Y[0] = set1(0.2820947917738781f);
    if (K <= 1) return;
    const float a = 0.48860251190292f;
    Y[1] = -a * y, Y[2] = a * z, Y[3] = -a * x;
    if (K <= 4) return;
    const float b = 1.092548430592079f, c = 0.5462742152960395f, d = 0.3153915652525201f;
    const V8 xx = x * x, yy = y * y, zz = z * z, one = set1(1.f);
    Y[4] = b * (x * y), Y[5] = -b * (y * z), Y[6] = d * (3.f * zz - one), Y[7] = -b * (x * z), Y[8] = c * (xx - yy);
    if (K <= 9) return;
    const float e = 0.5900435899266435f, f = 1.445305721320277f, g = 0.4570457994644658f, h = 0.3731763325901154f;
    const V8 q = g * (one - 5.f * zz);
    Y[9] = -e * (y * (3.f * xx - yy)), Y[10] = 2 * f * (x * y * z), Y[11] = q * y;
    Y[12] = h * (z * (5.f * zz - set1(3.f))), Y[13] = q * x, Y[14] = f * (z * (xx - yy)), Y[15] = -e * (x * (xx - 3.f * yy));
}

// d/dx, d/dy, d/dz of sum_k weight[k] Y_k
template <int K>
LANES_INLINE void harmonics_slope(V8 x, V8 y, V8 z, const V8* weight, V8* gx, V8* gy, V8* gz) {
    *gx = *gy = *gz = zeros();
    if (K <= 1) return;
    const float a = 0.48860251190292f;
    *gy = -a * weight[1], *gz = a * weight[2], *gx = -a * weight[3];
    if (K <= 4) return;
    const float b = 1.092548430592079f, c = 0.5462742152960395f, d = 0.3153915652525201f;
    *gx = *gx + b * (y * weight[4]) - b * (z * weight[7]) + 2 * c * (x * weight[8]);
    *gy = *gy + b * (x * weight[4]) - b * (z * weight[5]) - 2 * c * (y * weight[8]);
    *gz = *gz - b * (y * weight[5]) + 6 * d * (z * weight[6]) - b * (x * weight[7]);
    if (K <= 9) return;
    const float e = 0.5900435899266435f, f = 1.445305721320277f, g = 0.4570457994644658f, h = 0.3731763325901154f;
    const V8 xx = x * x, yy = y * y, zz = z * z, one = set1(1.f);
    const V8 q = g * (one - 5.f * zz), qz = -10 * g * z;
    *gx = *gx - 6 * e * (x * y * weight[9]) + 2 * f * (y * z * weight[10]) + q * weight[13] + 2 * f * (x * z * weight[14]) - 3 * e * ((xx - yy) * weight[15]);
    *gy = *gy - 3 * e * ((xx - yy) * weight[9]) + 2 * f * (x * z * weight[10]) + q * weight[11] - 2 * f * (y * z * weight[14]) + 6 * e * (x * y * weight[15]);
    *gz = *gz + 2 * f * (x * y * weight[10]) + qz * y * weight[11] + 3 * h * ((5.f * zz - one) * weight[12]) + qz * x * weight[13] + f * ((xx - yy) * weight[14]);
}

template <int K>
LANES_INLINE void evaluate_harmonics(const float* table, int count, const V8* direction, V8* colour) {
    V8 Y[16], h[3 * K];
    harmonics_basis<K>(direction[0], direction[1], direction[2], Y);
    load_rows<3 * K>(table, count, h);
    for (int c = 0; c < 3; c++) {
        V8 total = set1(0.5f);
        for (int k = 0; k < K; k++) total = fma(Y[k], h[3 * k + c], total);
        colour[c] = total;
    }
}

// Gradient to the coefficients (stored) and to the unit direction.
template <int K>
LANES_INLINE void harmonics_backward(const float* table, float* out, int count, const V8* direction, const V8* v, V8* v_direction) {
    V8 Y[16], h[3 * K], weight[16];
    harmonics_basis<K>(direction[0], direction[1], direction[2], Y);
    load_rows<3 * K>(table, count, h);
    for (int k = 0; k < K; k++) {
        weight[k] = fma(h[3 * k], v[0], fma(h[3 * k + 1], v[1], h[3 * k + 2] * v[2]));
        for (int c = 0; c < 3; c++) h[3 * k + c] = Y[k] * v[c];
    }
    store_rows<3 * K>(out, count, h);
    harmonics_slope<K>(direction[0], direction[1], direction[2], weight, v_direction, v_direction + 1, v_direction + 2);
}

// ------------------------------------------------------------------------------------------------------- projection

// What projection and its gradient both compute of eight Gaussians.
struct Projection {
    V8 x, y, z, per_z;           // in the camera
    V8 tx, ty;                   // x, y held inside the limits for the Jacobian
    V8 w, qx, qy, qz, per_norm;  // unit quaternion and 1 / its length
    V8 G[9], scale[3];           // rotation, row-major
    V8 JR[6], U[6];              // Jacobian times world rotation (2x3); that times G S
    V8 xx, xy, yy, det;          // blurred 2D covariance
    V8 sharp;                    // determinant without the blur
};

LANES_INLINE void to_camera(const Camera& c, const V8* m, Projection& p) {
    const float *R = c.R, *t = c.t;
    p.x = set1(R[0]) * m[0] + set1(R[1]) * m[1] + set1(R[2]) * m[2] + set1(t[0]);
    p.y = set1(R[3]) * m[0] + set1(R[4]) * m[1] + set1(R[5]) * m[2] + set1(t[1]);
    p.z = set1(R[6]) * m[0] + set1(R[7]) * m[1] + set1(R[8]) * m[2] + set1(t[2]);
}

LANES_INLINE void project_covariance(const Camera& c, const V8* q, const V8* s, Projection& p) {
    const V8 one = set1(1.f);
    p.per_norm = one / sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const V8 w = p.w = q[0] * p.per_norm, x = p.qx = q[1] * p.per_norm, y = p.qy = q[2] * p.per_norm, z = p.qz = q[3] * p.per_norm;
    p.G[0] = one - 2.f * (y * y + z * z), p.G[1] = 2.f * (x * y - w * z), p.G[2] = 2.f * (x * z + w * y);
    p.G[3] = 2.f * (x * y + w * z), p.G[4] = one - 2.f * (x * x + z * z), p.G[5] = 2.f * (y * z - w * x);
    p.G[6] = 2.f * (x * z - w * y), p.G[7] = 2.f * (y * z + w * x), p.G[8] = one - 2.f * (x * x + y * y);
    for (int k = 0; k < 3; k++) p.scale[k] = s[k];
    p.per_z = one / p.z;
    p.tx = p.z * clamp(p.x * p.per_z, set1(c.left), set1(c.right));
    p.ty = p.z * clamp(p.y * p.per_z, set1(c.top), set1(c.bottom));
    const V8 per_z2 = p.per_z * p.per_z;
    const V8 J00 = c.fx * p.per_z, J02 = -(c.fx * p.tx * per_z2), J11 = c.fy * p.per_z, J12 = -(c.fy * p.ty * per_z2);
    for (int k = 0; k < 3; k++) {
        p.JR[k] = J00 * set1(c.R[k]) + J02 * set1(c.R[6 + k]);
        p.JR[3 + k] = J11 * set1(c.R[3 + k]) + J12 * set1(c.R[6 + k]);
    }
    for (int k = 0; k < 3; k++) {
        p.U[k] = (p.JR[0] * p.G[k] + p.JR[1] * p.G[3 + k] + p.JR[2] * p.G[6 + k]) * s[k];
        p.U[3 + k] = (p.JR[3] * p.G[k] + p.JR[4] * p.G[3 + k] + p.JR[5] * p.G[6 + k]) * s[k];
    }
    const V8 blur = set1(c.blur), *U = p.U;
    const V8 first = U[0] * U[0] + U[1] * U[1] + U[2] * U[2], second = U[3] * U[3] + U[4] * U[4] + U[5] * U[5];
    p.xx = first + blur, p.yy = second + blur;
    p.xy = U[0] * U[3] + U[1] * U[4] + U[2] * U[5];
    // Lagrange's identity: xx yy - xy^2 would lose all digits for long thin splats
    const V8 n0 = U[1] * U[5] - U[2] * U[4], n1 = U[2] * U[3] - U[0] * U[5], n2 = U[0] * U[4] - U[1] * U[3];
    p.sharp = n0 * n0 + n1 * n1 + n2 * n2;
    p.det = p.sharp + blur * (first + second + blur);
}

LANES_INLINE void view_direction(const Camera& c, const V8* m, V8* d, V8* per_length) {
    for (int k = 0; k < 3; k++) d[k] = m[k] - set1(c.position[k]);
    *per_length = set1(1.f) / sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    for (int k = 0; k < 3; k++) d[k] = d[k] * *per_length;
}

bool finite_row(const float* row, int count) {
    for (int k = 0; k < count; k++)
        if (!(row[k] - row[k] == 0)) return false;
    return true;
}

int64_t project(const Frame& f, const SplatScene& s, int64_t begin, int64_t end) {
    const Camera& c = f.camera;
    const V8 one = set1(1.f);
    int64_t found = 0;
    for (int64_t i = begin; i < end; i += 8) {
        const int count = int(end - i < 8 ? end - i : 8);
        for (int k = 0; k < count; k++) f.boxes[i + k] = TileBox{0, 0, 0, 0};
        V8 m[3], opacity, q[4], scale[3], colour[3];
        Projection p;
        load_rows<3>(s.means + 3 * i, count, m);
        load_rows<1>(s.opacities + i, count, &opacity);
        to_camera(c, m, p);
        M8 ok = (p.z >= set1(c.near_plane)) & (p.z <= set1(c.far_plane)) & (opacity >= set1(1.f / 255.f)) & finite(opacity);
        if (!bits(ok)) continue;
        opacity = min(opacity, one);
        load_rows<4>(s.quats + 4 * i, count, q);
        load_rows<3>(s.scales + 3 * i, count, scale);
        project_covariance(c, q, scale, p);
        if (c.antialiased) {
            opacity = opacity * sqrt(p.sharp / p.det);
            ok = ok & (opacity >= set1(1.f / 255.f));
        }

        Record record[8];
        alignas(32) float lane[8];
        store(lane, opacity);
        for (int k = 0; k < 8; k++) lane[k] = std::log(lane[k]);
        const V8 log_opacity = load(lane), level = -(0.125f * log_opacity);
        const V8 reach = max(zeros(), 2.f * (set1(LN255) + log_opacity));  // squared extent in standard deviations
        V8 half_x = sqrt(reach * p.xx), half_y = sqrt(reach * p.yy);
        ok = ok & (p.det > zeros());
        if (c.radius_clip > 0)
            ok = ok & ((half_x > set1(c.radius_clip)) | (half_y > set1(c.radius_clip)));
        const V8 slack = set1(1e-3f) + 1e-5f * half_y;
        half_x = half_x + set1(1e-3f) + 1e-5f * half_x;
        half_y = half_y + slack;
        const V8 x = c.fx * p.x * p.per_z + set1(c.cx), y = c.fy * p.y * p.per_z + set1(c.cy);
        const V8 root = 0.25f * sqrt(p.xx / p.det), ridge = -(p.xy / p.xx), slope = ridge * root;
        const V8 lean = p.xy / p.yy * half_y;

        V8 direction[3], per_length;
        view_direction(c, m, direction, &per_length);
        const float* table = s.harmonics + 3 * i * (s.coefficients ? s.coefficients : 1);
        switch (s.coefficients) {
            case 16: evaluate_harmonics<16>(table, count, direction, colour); break;
            case 9: evaluate_harmonics<9>(table, count, direction, colour); break;
            case 4: evaluate_harmonics<4>(table, count, direction, colour); break;
            case 1: evaluate_harmonics<1>(table, count, direction, colour); break;
            default: load_rows<3>(table, count, colour);
        }
        ok = ok & finite(colour[0] + colour[1] + colour[2]) & finite(x + y + half_x + half_y) & finite(root + slope + one / root) & finite(per_length);
        if (s.coefficients)
            for (int k = 0; k < 3; k++) colour[k] = max(colour[k], zeros());

        // tiles touched; a hundredth of a pixel against the rounding of large coordinates
        const V8 margin = set1(0.51f), tw = set1(1.f / f.tile_width), th = set1(1.f / f.tile_height);
        const V8 last_x = set1(float(f.tiles_x)), last_y = set1(float(f.tiles_y));
        alignas(32) int32_t box[4][8];
        store_int(box[0], floor(clamp((x - half_x - margin) * tw, zeros(), last_x)));
        store_int(box[1], floor(clamp((y - half_y - margin) * th, zeros(), last_y)));
        store_int(box[2], floor(clamp((x + half_x - margin + set1(0.02f)) * tw + one, zeros(), last_x)));
        store_int(box[3], floor(clamp((y + half_y - margin + set1(0.02f)) * th + one, zeros(), last_y)));

        V8 columns[16] = {x, y, root, slope, one / (16.f * p.xx), level, half_x, half_y,
                          ridge, one / root, lean, slack, colour[0], colour[1], colour[2], p.z};
        store_rows<16>(reinterpret_cast<float*>(record), 8, columns);
        const int visible = bits(ok);
        for (int k = 0; k < count; k++) {
            if (!(visible >> k & 1) || box[0][k] >= box[2][k] || box[1][k] >= box[3][k]) continue;
            if (!finite_row(s.features + (i + k) * s.feature_count, s.feature_count)) continue;
            f.boxes[i + k] = TileBox{uint16_t(box[0][k]), uint16_t(box[1][k]), uint16_t(box[2][k]), uint16_t(box[3][k])};
            f.records[i + k] = record[k];
            uint32_t depth_bits;
            std::memcpy(&depth_bits, &record[k].z, 4);
            f.pairs[begin + found++] = uint64_t(depth_bits) << 32 | uint32_t(i + k);
        }
    }
    return found;
}

void project_backward(const Frame& f, const SplatScene& s, int64_t begin, int64_t end, const SplatGradients& out, float* pose) {
    const Camera& c = f.camera;
    const int K = s.coefficients;
    V8 v_pose[15];  // R, t, position
    for (V8& v : v_pose) v = zeros();
    for (int64_t i = begin; i < end; i += 8) {
        const int count = int(end - i < 8 ? end - i : 8);
        alignas(32) float seen[8] = {}, lit[3][8] = {};
        bool any = false;
        for (int k = 0; k < count; k++) {
            if (f.boxes[i + k].x0 == f.boxes[i + k].x1) continue;
            any = true;
            seen[k] = 1;
            const Record& r = f.records[i + k];
            lit[0][k] = r.r > 0, lit[1][k] = r.g > 0, lit[2][k] = r.b > 0;
        }
        if (!any) {
            const int width = 3 * (K ? K : 1);
            std::memset(out.means + 3 * i, 0, sizeof(float) * 3 * count);
            std::memset(out.quats + 4 * i, 0, sizeof(float) * 4 * count);
            std::memset(out.scales + 3 * i, 0, sizeof(float) * 3 * count);
            std::memset(out.opacities + i, 0, sizeof(float) * count);
            std::memset(out.harmonics + width * i, 0, sizeof(float) * width * count);
            if (out.means2d) std::memset(out.means2d + 2 * i, 0, sizeof(float) * 2 * count);
            continue;
        }
        const M8 visible = load(seen) > zeros();
        V8 m[3], q[4], scale[3], opacity, g[WIDE_SLOT];
        load_rows<WIDE_SLOT>(f.totals + i * WIDE_SLOT, count, g);
        for (int j = 0; j < 10; j++) g[j] = keep(g[j], visible);
        load_rows<3>(s.means + 3 * i, count, m);
        load_rows<4>(s.quats + 4 * i, count, q);
        load_rows<3>(s.scales + 3 * i, count, scale);
        load_rows<1>(s.opacities + i, count, &opacity);
        Projection p;
        to_camera(c, m, p);
        project_covariance(c, q, scale, p);
        const V8 one = set1(1.f), per_det = one / p.det;
        const V8 A = p.yy * per_det, B = -(p.xy * per_det), C = p.xx * per_det;
        // with d = pixel - centre: d sigma / d centre = -(a dx + b dy, b dx + c dy), and g = -d loss / d sigma
        const V8 vu = A * g[1] + B * g[2], vv = B * g[1] + C * g[2];
        const V8 va = -0.5f * g[3], vb = -0.5f * g[4], vc = -0.5f * g[5];
        // to the covariance: -Conic V Conic
        const V8 p00 = A * va + B * vb, p01 = A * vb + B * vc, p10 = B * va + C * vb, p11 = B * vb + C * vc;
        V8 g00 = -(p00 * A + p01 * B), g01 = -(p00 * B + p01 * C), g11 = -(p10 * B + p11 * C);
        if (c.antialiased) {  // d loss / d ln opacity is g[0]; d ln sqrt(sharp / det) / d covariance
            const V8 half = 0.5f * g[0], blur = set1(c.blur), per_sharp = one / p.sharp;
            g00 = g00 + half * ((p.yy - blur) * per_sharp - A);
            g01 = g01 - half * (p.xy * per_sharp + B);
            g11 = g11 + half * ((p.xx - blur) * per_sharp - C);
        }
        V8 dU[6], dG[9], v_scale[3] = {zeros(), zeros(), zeros()}, dJR[6];
        for (int k = 0; k < 3; k++) {
            dU[k] = 2.f * (g00 * p.U[k] + g01 * p.U[3 + k]);
            dU[3 + k] = 2.f * (g01 * p.U[k] + g11 * p.U[3 + k]);
        }
        for (int r = 0; r < 3; r++) {
            dJR[r] = dJR[3 + r] = zeros();
            for (int k = 0; k < 3; k++) {
                const V8 d = p.JR[r] * dU[k] + p.JR[3 + r] * dU[3 + k], M = p.G[3 * r + k] * scale[k];
                v_scale[k] = v_scale[k] + p.G[3 * r + k] * d;
                dG[3 * r + k] = d * scale[k];
                dJR[r] = dJR[r] + dU[k] * M;
                dJR[3 + r] = dJR[3 + r] + dU[3 + k] * M;
            }
        }
        const float* R = c.R;
        const V8 d00 = dJR[0] * set1(R[0]) + dJR[1] * set1(R[1]) + dJR[2] * set1(R[2]);
        const V8 d02 = dJR[0] * set1(R[6]) + dJR[1] * set1(R[7]) + dJR[2] * set1(R[8]);
        const V8 d11 = dJR[3] * set1(R[3]) + dJR[4] * set1(R[4]) + dJR[5] * set1(R[5]);
        const V8 d12 = dJR[3] * set1(R[6]) + dJR[4] * set1(R[7]) + dJR[5] * set1(R[8]);
        const V8 per_z = p.per_z, per_z2 = per_z * per_z, per_z3 = per_z2 * per_z;
        V8 dx = c.fx * per_z * vu, dy = c.fy * per_z * vv;
        V8 dz = g[9] - (c.fx * p.x * vu + c.fy * p.y * vv) * per_z2 - c.fx * per_z2 * d00 - c.fy * per_z2 * d11;
        // where the limits hold x/z or y/z, the Jacobian depends on z alone
        const V8 slant_x = p.x * per_z, slant_y = p.y * per_z;
        const M8 free_x = (slant_x >= set1(c.left)) & (slant_x <= set1(c.right));
        const M8 free_y = (slant_y >= set1(c.top)) & (slant_y <= set1(c.bottom));
        dx = dx - keep(c.fx * per_z2 * d02, free_x);
        dy = dy - keep(c.fy * per_z2 * d12, free_y);
        const V8 zx = c.fx * p.tx * per_z3 * d02, zy = c.fy * p.ty * per_z3 * d12;
        dz = dz + zx + keep(zx, free_x) + zy + keep(zy, free_y);
        V8 v_mean[3];
        for (int k = 0; k < 3; k++) v_mean[k] = set1(R[k]) * dx + set1(R[3 + k]) * dy + set1(R[6 + k]) * dz;
        if (pose) {
            const V8 d[3] = {dx, dy, dz}, J00 = c.fx * per_z, J02 = -(c.fx * p.tx * per_z2), J11 = c.fy * per_z, J12 = -(c.fy * p.ty * per_z2);
            for (int k = 0; k < 3; k++) {
                v_pose[k] = v_pose[k] + keep(dx * m[k] + J00 * dJR[k], visible);
                v_pose[3 + k] = v_pose[3 + k] + keep(dy * m[k] + J11 * dJR[3 + k], visible);
                v_pose[6 + k] = v_pose[6 + k] + keep(dz * m[k] + J02 * dJR[k] + J12 * dJR[3 + k], visible);
                v_pose[9 + k] = v_pose[9 + k] + keep(d[k], visible);
            }
        }

        const V8 w = p.w, x = p.qx, y = p.qy, z = p.qz;
        V8 vw = 2.f * (z * (dG[3] - dG[1]) + y * (dG[2] - dG[6]) + x * (dG[7] - dG[5]));
        V8 vx = 2.f * (y * (dG[1] + dG[3]) + z * (dG[2] + dG[6]) + w * (dG[7] - dG[5]) - 2.f * x * (dG[4] + dG[8]));
        V8 vy = 2.f * (x * (dG[1] + dG[3]) + z * (dG[5] + dG[7]) + w * (dG[2] - dG[6]) - 2.f * y * (dG[0] + dG[8]));
        V8 vz = 2.f * (x * (dG[2] + dG[6]) + y * (dG[5] + dG[7]) + w * (dG[3] - dG[1]) - 2.f * z * (dG[0] + dG[4]));
        const V8 along = w * vw + x * vx + y * vy + z * vz;  // normalisation hides the radial part
        V8 v_quat[4] = {(vw - w * along) * p.per_norm, (vx - x * along) * p.per_norm, (vy - y * along) * p.per_norm, (vz - z * along) * p.per_norm};

        V8 v_colour[3] = {g[6], g[7], g[8]};
        if (K) {
            V8 direction[3], per_length, v_direction[3];
            view_direction(c, m, direction, &per_length);
            for (int k = 0; k < 3; k++) {
                direction[k] = keep(direction[k], visible);
                v_colour[k] = keep(v_colour[k], load(lit[k]) > zeros());
            }
            const float* table = s.harmonics + 3 * i * K;
            float* v_table = out.harmonics + 3 * i * K;
            switch (K) {
                case 16: harmonics_backward<16>(table, v_table, count, direction, v_colour, v_direction); break;
                case 9: harmonics_backward<9>(table, v_table, count, direction, v_colour, v_direction); break;
                case 4: harmonics_backward<4>(table, v_table, count, direction, v_colour, v_direction); break;
                default: harmonics_backward<1>(table, v_table, count, direction, v_colour, v_direction);
            }
            const V8 radial = v_direction[0] * direction[0] + v_direction[1] * direction[1] + v_direction[2] * direction[2];
            for (int k = 0; k < 3; k++) {
                const V8 turned = (v_direction[k] - direction[k] * radial) * per_length;
                v_mean[k] = v_mean[k] + turned;
                v_pose[12 + k] = v_pose[12 + k] - keep(turned, visible);
            }
        } else {
            store_rows<3>(out.harmonics + 3 * i, count, v_colour);
        }
        for (int k = 0; k < 3; k++) v_mean[k] = keep(v_mean[k], visible), v_scale[k] = keep(v_scale[k], visible);
        for (int k = 0; k < 4; k++) v_quat[k] = keep(v_quat[k], visible);
        const V8 v_opacity = keep(g[0] / opacity, visible & (opacity <= one));
        store_rows<3>(out.means + 3 * i, count, v_mean);
        store_rows<4>(out.quats + 4 * i, count, v_quat);
        store_rows<3>(out.scales + 3 * i, count, v_scale);
        store_rows<1>(out.opacities + i, count, &v_opacity);
        if (out.means2d) {
            V8 v_centre[2] = {keep(vu, visible), keep(vv, visible)};
            store_rows<2>(out.means2d + 2 * i, count, v_centre);
        }
    }
    if (!pose) return;
    for (int k = 0; k < 15; k++) pose[k] = sum(v_pose[k]);
    pose[15] = 0;
}

// ------------------------------------------------------------------------------------------------------------ tiles

// exp(-8 s) for s in [0, ln(255) / 8]: a polynomial for exp(-s), squared three times. Relative error 7e-7.
LANES_INLINE V8 falloff(V8 s) {
    V8 p = fma(set1(-0.00590687f), s, set1(0.03988249f));
    p = fma(p, s, set1(-0.16604696f));
    p = fma(p, s, set1(0.49990374f));
    p = fma(p, s, set1(-0.99999502f));
    p = fma(p, s, set1(1.f));
    p = p * p;
    p = p * p;
    return p * p;
}

const int BATCH = 32;

// The row ranges, strip by strip, that {alpha >= 1/255} of up to 32 Gaussians covers in a tile. Done for all of them
// before any pixel: inside the pixel loop the square root would wait behind a mispredicted branch (RASTER.md, 3).
template <int STRIPS>
struct Batch {
    const Record* record[BATCH];
    alignas(32) int32_t first[STRIPS][BATCH], last[STRIPS][BATCH];
};

template <int STRIPS>
LANES_INLINE void row_ranges(Batch<STRIPS>& batch, const Frame& f, const uint32_t* ids, const uint32_t* end, int left, int top,
                             const int* lowest, const int* highest) {
    const int count = int(end - ids < BATCH ? end - ids : BATCH), next = int(end - ids < 2 * BATCH ? end - ids : 2 * BATCH);
    for (int k = 0; k < count; k++) batch.record[k] = f.records + ids[k];
    for (int k = count; k < next; k++) __builtin_prefetch(f.records + ids[k]);  // they lie in the order of the input
    for (int k = count; k < BATCH && k % 8; k++) batch.record[k] = batch.record[count - 1];
    for (int k = 0; k < count; k += 8) {
        V8 a[8], b[8];
        for (int j = 0; j < 8; j++) {
            const float* p = reinterpret_cast<const float*>(batch.record[k + j]);
            a[j] = load(p);
            b[j] = load(p + 8);
        }
        transpose(a);
        transpose(b);
        const V8 x = a[0] - set1(float(left)), y = a[1] - set1(float(top)), across = a[4], level = a[5], half_x = a[6];
        const V8 ridge = b[0], per_root = b[1], lean = b[2], slack = b[3] + set1(0.5f);
        const V8 room = set1(LEVEL_FAINT) - level;
        for (int c = 0; c < STRIPS; c++) {
            const V8 d0 = set1(8 * c + 0.5f) - x, d1 = d0 + set1(7.f);
            const V8 e0 = max(d0, -half_x), e1 = min(d1, half_x);
            const V8 low = clamp(lean, e0, e1), high = clamp(-lean, e0, e1);
            const V8 down = sqrt(max(zeros(), fnma(across * low, low, room))) * per_root - ridge * low;
            const V8 up = sqrt(max(zeros(), fnma(across * high, high, room))) * per_root + ridge * high;
            const V8 limit_low = set1(float(lowest[c])), limit_high = set1(float(highest[c]));
            V8 first = clamp(y - up - slack, limit_low, limit_high + set1(1.f));
            V8 last = clamp(y + down + slack - set1(1.f), limit_low - set1(1.f), limit_high);
            first = select(e0 > e1, set1(1e6f), ceil(first));
            store_int(batch.first[c] + k, first);
            store_int(batch.last[c] + k, floor(last));
        }
    }
}

// Narrows each strip's rows to those with a pixel that still takes light; false once none is left.
template <int STRIPS, int ROWS, int FLOATS>
LANES_INLINE bool trim_rows(const float* state, int* lowest, int* highest) {
    bool any = false;
    for (int c = 0; c < STRIPS; c++) {
        while (lowest[c] <= highest[c] && sign_bits(load(state + (c * ROWS + lowest[c]) * FLOATS)) == 255) lowest[c]++;
        while (lowest[c] <= highest[c] && sign_bits(load(state + (c * ROWS + highest[c]) * FLOATS)) == 255) highest[c]--;
        any |= lowest[c] <= highest[c];
    }
    return any;
}

// A walk over a tile composites BASE channels of the picture (3: colour; 4: colour and z; 0: none), EXTRA features and,
// with MEDIAN, the median depth. The alphas are the dear part, so the first walk takes FIRST_FEATURES along, and each
// further one NEXT_FEATURES. Features past the last are 0.
struct Channels {
    const float* table;  // features of this walk in the first row
    int64_t stride;
    int used;

    Channels(const Frame& f, int first, int extra) : table(f.features + first), stride(f.feature_count), used(f.feature_count - first) {
        if (used > extra) used = extra;
        if (used < 0) used = 0;
    }
    template <int BASE, int EXTRA>
    LANES_INLINE_MEMBER void load(const Record& r, uint32_t id, V8* out) const {
        const float base[4] = {r.r, r.g, r.b, r.z};
        for (int k = 0; k < BASE; k++) out[k] = set1(base[k]);
        for (int k = 0; k < EXTRA; k++) out[BASE + k] = set1(k < used ? table[int64_t(id) * stride + k] : 0.f);
    }
};

// State of a row of eight pixels: transmittance (negative once finished), the channels, the median depth. LIMITED: a pixel is
// finished before the first Gaussian at its limit or beyond.
template <int STRIPS, int ROWS, int BASE, int EXTRA, bool MEDIAN, bool LIMITED>
void raster_tile(const Frame& f, int32_t tile, int first_feature, const SplatImage& image) {
    enum { CHANNELS = BASE + EXTRA, FLOATS = 8 * (1 + CHANNELS + MEDIAN), MEDIAN_AT = 8 * (1 + CHANNELS) };
    const Channels channels(f, first_feature, EXTRA);
    const bool depth = BASE == 4 && image.depth, features = EXTRA && image.features, median = MEDIAN && image.median_depth;
    const int W = f.camera.width, H = f.camera.height;
    const int left = tile % f.tiles_x * f.tile_width, top = tile / f.tiles_x * f.tile_height;
    const int rows = H - top < ROWS ? H - top : ROWS, columns = W - left < 8 * STRIPS ? W - left : 8 * STRIPS;
    const int64_t begin = f.offsets[tile], end = f.offsets[tile + 1], M = f.feature_count;
    const float* bg = f.background;
    if (begin == end) {
        for (int y = 0; y < rows; y++) {
            const int64_t at = int64_t(top + y) * W + left;
            if (BASE) {
                for (int x = 0; x < columns; x++)
                    for (int k = 0; k < 3; k++) image.colour[3 * (at + x) + k] = bg[k];
                std::memset(image.alpha + at, 0, sizeof(float) * columns);
            }
            if (depth) std::memset(image.depth + at, 0, sizeof(float) * columns);
            if (median) std::memset(image.median_depth + at, 0, sizeof(float) * columns);
            for (int x = 0; features && x < columns; x++)
                for (int k = 0; k < channels.used; k++) image.features[(at + x) * M + first_feature + k] = 0.f;
        }
        return;
    }
    alignas(32) float state[STRIPS * ROWS * FLOATS];
    alignas(32) float limits[LIMITED ? STRIPS * ROWS * 8 : 8];  // rows of eight like the state
    for (int c = 0; LIMITED && c < STRIPS; c++)
        for (int y = 0; y < ROWS; y++)
            for (int x = 8 * c; x < 8 * c + 8; x++)
                limits[(c * ROWS + y) * 8 + x - 8 * c] = y < rows && x < columns ? image.limit[int64_t(top + y) * W + left + x] : 0.f;
    int lowest[STRIPS], highest[STRIPS];
    for (int c = 0; c < STRIPS; c++) {
        lowest[c] = 0;
        highest[c] = 8 * c < columns ? rows - 1 : -1;
        const V8 open = select(iota() + set1(8.f * c) < set1(float(columns)), set1(1.f), set1(-1.f));
        for (int y = 0; y < ROWS; y++) {
            float* p = state + (c * ROWS + y) * FLOATS;
            store(p, open);
            for (int k = 8; k < FLOATS; k += 8) store(p + k, zeros());
        }
    }
    const V8 centre = iota() + set1(0.5f), one = set1(1.f), half = set1(0.5f), stop = set1(T_STOP), faint = set1(LEVEL_FAINT), solid = set1(LEVEL_SOLID);
    Batch<STRIPS> batch;
    for (int64_t i = begin; i < end; i += BATCH) {
        const int count = int(end - i < BATCH ? end - i : BATCH);
        row_ranges<STRIPS>(batch, f, f.ids + i, f.ids + end, left, top, lowest, highest);
        for (int k = 0; k < count; k++) {
            const Record& r = *batch.record[k];
            const V8 root = set1(r.root), z = set1(r.z);
            V8 value[CHANNELS];
            channels.load<BASE, EXTRA>(r, f.ids[i + k], value);
            for (int c = 0; c < STRIPS; c++) {
                const int first = batch.first[c][k], last = batch.last[c][k];
                if (first > last) continue;
                const V8 dx = set1(float(left + 8 * c) - r.x) + centre;
                const V8 tilt = set1(r.slope) * dx, base = fma(set1(r.across) * dx, dx, set1(r.level));
                V8 dy = set1(float(top + first) + 0.5f - r.y);
                float* p = state + (c * ROWS + first) * FLOATS;
                for (int y = first; y <= last; y++, p += FLOATS) {
                    const V8 t = fma(root, dy, tilt), s = fma(t, t, base);
                    dy = dy + one;
                    const V8 alpha = keep(falloff(max(s, solid)), s <= faint);
                    const V8 before = load(p), open = max(before, zeros());
                    V8 weight = alpha * open;
                    const V8 after = open - weight;
                    M8 live = after > stop;
                    if (LIMITED) live = live & (load(limits + (c * ROWS + y) * 8) > z);
                    weight = keep(weight, live);
                    store(p, select(live, after, negative(before)));
                    LANES_UNROLL
                    for (int j = 0; j < CHANNELS; j++) store(p + 8 + 8 * j, fma(weight, value[j], load(p + 8 + 8 * j)));
                    if (MEDIAN) store(p + MEDIAN_AT, select((weight > zeros()) & (before > half), value[3], load(p + MEDIAN_AT)));
                }
            }
        }
        if (!trim_rows<STRIPS, ROWS, FLOATS>(state, lowest, highest)) break;
    }
    for (int y = 0; y < rows; y++) {
        const int64_t at = int64_t(top + y) * W + left;
        float *colour = image.colour + 3 * at, *alpha = image.alpha + at;
        for (int x = 0; x < columns; x++) {
            const float* p = state + ((x >> 3) * ROWS + y) * FLOATS + (x & 7);
            if (BASE) {
                const float t = std::fabs(p[0]);
                for (int k = 0; k < 3; k++) colour[3 * x + k] = p[8 + 8 * k] + t * bg[k];
                alpha[x] = 1.f - t;
                if (depth) image.depth[at + x] = t < 1.f ? p[32] / (1.f - t) : 0.f;
            }
            if (median) image.median_depth[at + x] = p[MEDIAN_AT];
            for (int k = 0; features && k < channels.used; k++) image.features[(at + x) * M + first_feature + k] = p[8 + 8 * (BASE + k)];
        }
    }
}

// Front to back again. What is left to come is one number a pixel: S = v . (colour - accumulated), so that
// alpha d loss / d alpha = weight (v . c) - alpha / (1 - alpha) S; moments of that over the pixels give every gradient.
// State of a row: transmittance, S, v of each channel. One S serves all channels of a walk, for it is a sum over them.
template <int STRIPS, int ROWS, int BASE, int EXTRA>
void raster_tile_backward(const Frame& f, int32_t tile, int first_feature, const SplatImage& image, const SplatImage& gradient) {
    enum { CHANNELS = BASE + EXTRA, FLOATS = 8 * (2 + CHANNELS), SLOT = EXTRA ? WIDE_SLOT : SLIM_SLOT };
    const bool depth = BASE == 4 && gradient.depth && image.depth;
    const Channels channels(f, first_feature, EXTRA);
    const int64_t begin = f.offsets[tile], end = f.offsets[tile + 1];
    if (begin == end) return;
    const int W = f.camera.width, H = f.camera.height;
    const int tile_x = tile % f.tiles_x, tile_y = tile / f.tiles_x, left = tile_x * f.tile_width, top = tile_y * f.tile_height;
    const int rows = H - top < ROWS ? H - top : ROWS, columns = W - left < 8 * STRIPS ? W - left : 8 * STRIPS;
    alignas(32) float state[STRIPS * ROWS * FLOATS];
    for (int k = 0; k < STRIPS * ROWS; k++) {
        store(state + k * FLOATS, set1(-1.f));
        for (int j = 8; j < FLOATS; j += 8) store(state + k * FLOATS + j, zeros());
    }
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) {
            float* p = state + ((x >> 3) * ROWS + y) * FLOATS + (x & 7);
            const int64_t at = int64_t(top + y) * W + left + x;
            float rest = 0;
            if (BASE) {
                const float *v = gradient.colour + 3 * at, *o = image.colour + 3 * at, alpha = image.alpha[at];
                float v_alpha = gradient.alpha ? gradient.alpha[at] : 0.f;
                rest = v[0] * o[0] + v[1] * o[1] + v[2] * o[2];
                if (depth) {  // depth = (sum of weight z) / alpha
                    const float v_depth = alpha > 0 ? gradient.depth[at] / alpha : 0.f;
                    p[40] = v_depth;
                    rest += v_depth * image.depth[at] * alpha;
                    v_alpha -= v_depth * image.depth[at];
                }
                rest -= (1.f - alpha) * v_alpha;
                p[16] = v[0], p[24] = v[1], p[32] = v[2];
            }
            for (int k = 0; k < channels.used; k++) {
                const int64_t one_of = at * f.feature_count + first_feature + k;
                p[16 + 8 * (BASE + k)] = gradient.features[one_of];
                rest += gradient.features[one_of] * image.features[one_of];
            }
            p[0] = 1.f, p[8] = rest;
        }
    int lowest[STRIPS], highest[STRIPS];
    for (int c = 0; c < STRIPS; c++) lowest[c] = 0, highest[c] = 8 * c < columns ? rows - 1 : -1;
    const V8 centre = iota() + set1(0.5f), one = set1(1.f), stop = set1(T_STOP), faint = set1(LEVEL_FAINT), solid = set1(LEVEL_SOLID);
    Batch<STRIPS> batch;
    int64_t i = begin;
    for (bool open_rows = true; i < end && open_rows; i += BATCH) {
        const int count = int(end - i < BATCH ? end - i : BATCH);
        row_ranges<STRIPS>(batch, f, f.ids + i, f.ids + end, left, top, lowest, highest);
        for (int k = 0; k < count; k++) {
            const Record& r = *batch.record[k];
            const V8 root = set1(r.root);
            V8 value[CHANNELS], sums_of[CHANNELS];
            channels.load<BASE, EXTRA>(r, f.ids[i + k], value);
            V8 sum_1 = zeros(), sum_x = sum_1, sum_y = sum_1, sum_xx = sum_1, sum_xy = sum_1, sum_yy = sum_1;  // of g
            LANES_UNROLL
            for (int j = 0; j < CHANNELS; j++) sums_of[j] = zeros();
            bool touched = false;
            for (int c = 0; c < STRIPS; c++) {
                const int first = batch.first[c][k], last = batch.last[c][k];
                if (first > last) continue;
                touched = true;
                const V8 dx = set1(float(left + 8 * c) - r.x) + centre;
                const V8 tilt = set1(r.slope) * dx, base = fma(set1(r.across) * dx, dx, set1(r.level));
                V8 dy = set1(float(top + first) + 0.5f - r.y);
                V8 m0 = zeros(), m1 = zeros(), m2 = zeros();
                float* p = state + (c * ROWS + first) * FLOATS;
                for (int y = first; y <= last; y++, p += FLOATS) {
                    const V8 t = fma(root, dy, tilt), s = fma(t, t, base);
                    const V8 alpha = keep(falloff(max(s, solid)), s <= faint);
                    const V8 before = load(p), open = max(before, zeros());
                    V8 weight = alpha * open;
                    const V8 after = open - weight;
                    const M8 live = after > stop;
                    weight = keep(weight, live);
                    store(p, select(live, after, negative(before)));
                    V8 here;
                    LANES_UNROLL
                    for (int j = CHANNELS - 1; j >= 0; j--) {
                        const V8 v = load(p + 16 + 8 * j);
                        sums_of[j] = fma(weight, v, sums_of[j]);
                        here = j == CHANNELS - 1 ? value[j] * v : fma(value[j], v, here);
                    }
                    const V8 rest = fnma(weight, here, load(p + 8));
                    store(p + 8, rest);
                    const V8 odds = alpha / (one - alpha);
                    const V8 g = keep(fnma(odds, rest, weight * here), live & (s >= solid));
                    const V8 gy = g * dy;
                    m0 = m0 + g;
                    m1 = m1 + gy;
                    m2 = fma(gy, dy, m2);
                    dy = dy + one;
                }
                const V8 mx = m0 * dx;
                sum_1 = sum_1 + m0;
                sum_x = sum_x + mx;
                sum_y = sum_y + m1;
                sum_xx = fma(mx, dx, sum_xx);
                sum_xy = fma(m1, dx, sum_xy);
                sum_yy = sum_yy + m2;
            }
            float* slot = f.gradients + (i + k) * SLOT;
            if (!touched) {
                std::memset(slot, 0, sizeof(float) * SLOT);
                continue;
            }
            const V8 total[8] = {sum_1, sum_x, sum_y, sum_xx, sum_xy, sum_yy, sums_of[0], sums_of[1]};
            storeu(slot, sums(total));
            if (SLOT == SLIM_SLOT) {
                slot[8] = sum(sums_of[2]);
                slot[9] = CHANNELS > 3 ? sum(sums_of[CHANNELS - 1]) : 0.f;
                slot[10] = slot[11] = 0.f;
            } else {
                V8 others[8];
                LANES_UNROLL
                for (int j = 0; j < 8; j++) others[j] = 2 + j < CHANNELS ? sums_of[2 + j < CHANNELS ? 2 + j : 0] : zeros();
                storeu(slot + 8, sums(others));
            }
        }
        open_rows = trim_rows<STRIPS, ROWS, FLOATS>(state, lowest, highest);
    }
    if (i < end) std::memset(f.gradients + i * SLOT, 0, sizeof(float) * SLOT * size_t(end - i));
}

// Each step runs over a handful of Gaussians before the next one does: the rows to add lie scattered over more memory than
// the nearest caches hold, and waiting for each in turn takes twice as long as asking for all of them first.
void add_up(const Frame& f, int32_t tile, int width) {
    enum { HANDFUL = 64 };
    const int tile_x = tile % f.tiles_x, tile_y = tile / f.tiles_x;
    const uint32_t* own[HANDFUL];  // where the rows of those are of which this is the first tile
    uint32_t ids[HANDFUL];
    int pairs[HANDFUL];
    for (int64_t i = f.offsets[tile], end = f.offsets[tile + 1]; i < end;) {
        int count = 0;
        for (; i < end && count < HANDFUL; i++) {
            const TileBox b = f.boxes[f.ids[i]];
            ids[count] = f.ids[i];
            pairs[count] = (b.x1 - b.x0) * (b.y1 - b.y0);
            count += ((b.x0 ^ tile_x) | (b.y0 ^ tile_y)) == 0;  // && would be a branch that nobody can predict
        }
        for (int k = 0; k < count; k++) {
            own[k] = f.positions + f.slots[ids[k]];
            __builtin_prefetch(own[k]);
        }
        for (int k = 0; k < count; k++)
            for (int j = 0; j < pairs[k]; j++) {
                const float* p = f.gradients + int64_t(own[k][j]) * width;
                __builtin_prefetch(p);
                __builtin_prefetch(p + width - 1);
            }
        for (int k = 0; k < count; k++) {
            V8 low = zeros(), high = zeros();  // they overlap in a slim slot
            for (int j = 0; j < pairs[k]; j++) {
                const float* p = f.gradients + int64_t(own[k][j]) * width;
                low = low + loadu(p);
                high = high + loadu(p + width - 8);
            }
            float* total = f.totals + int64_t(ids[k]) * WIDE_SLOT;
            storeu(total, low);
            storeu(total + width - 8, high);
        }
    }
}

// A tile shape and a walk are one instantiation; splat.cpp chooses the shape by the size of the picture.
template <int STRIPS, int ROWS, bool LIMITED>
void raster_walk(const Frame& f, int32_t tile, int first_feature, const SplatImage& image) {
    if (first_feature != PICTURE)
        return f.feature_count - first_feature > FIRST_FEATURES
                   ? raster_tile<STRIPS, ROWS, 0, NEXT_FEATURES, false, LIMITED>(f, tile, first_feature, image)
                   : raster_tile<STRIPS, ROWS, 0, FIRST_FEATURES, false, LIMITED>(f, tile, first_feature, image);
    if (image.features && f.feature_count) return raster_tile<STRIPS, ROWS, 4, FIRST_FEATURES, true, LIMITED>(f, tile, 0, image);
    if (image.median_depth) return raster_tile<STRIPS, ROWS, 4, 0, true, LIMITED>(f, tile, 0, image);
    image.depth ? raster_tile<STRIPS, ROWS, 4, 0, false, LIMITED>(f, tile, 0, image) : raster_tile<STRIPS, ROWS, 3, 0, false, LIMITED>(f, tile, 0, image);
}

template <int STRIPS, int ROWS>
void raster_shape(const Frame& f, int32_t tile, int first_feature, const SplatImage& image) {
    image.limit ? raster_walk<STRIPS, ROWS, true>(f, tile, first_feature, image) : raster_walk<STRIPS, ROWS, false>(f, tile, first_feature, image);
}

template <int STRIPS, int ROWS>
void raster_shape_backward(const Frame& f, int32_t tile, int first_feature, const SplatImage& image, const SplatImage& gradient) {
    if (first_feature != PICTURE)
        raster_tile_backward<STRIPS, ROWS, 0, NEXT_FEATURES>(f, tile, first_feature, image, gradient);
    else if (gradient.features && f.feature_count)
        raster_tile_backward<STRIPS, ROWS, 4, FIRST_FEATURES>(f, tile, 0, image, gradient);
    else if (image.depth && gradient.depth)
        raster_tile_backward<STRIPS, ROWS, 4, 0>(f, tile, 0, image, gradient);
    else
        raster_tile_backward<STRIPS, ROWS, 3, 0>(f, tile, 0, image, gradient);
}

void raster(const Frame& f, int32_t tile, int first_feature, const SplatImage& image) {
    f.tile_height == 32 ? raster_shape<2, 32>(f, tile, first_feature, image) : raster_shape<8, 64>(f, tile, first_feature, image);
}

void raster_backward(const Frame& f, int32_t tile, int first_feature, const SplatImage& image, const SplatImage& gradient) {
    f.tile_height == 32 ? raster_shape_backward<2, 32>(f, tile, first_feature, image, gradient)
                        : raster_shape_backward<8, 64>(f, tile, first_feature, image, gradient);
}

}  // namespace

const Kernels* SPLAT_KERNELS() {
    static const Kernels kernels = {SPLAT_KERNELS_NAME, project, raster, raster_backward, add_up, project_backward};
    return &kernels;
}
