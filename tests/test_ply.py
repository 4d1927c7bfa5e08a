# SPDX-License-Identifier: GPL-3.0-or-later
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loquent.core.errors import FormatError
from loquent.core.splats import ply_table
from loquent.core.splats.binding import Binding, carry
from loquent.core.splats.colour import display_harmonics, linear_harmonics, linear_layers
from loquent.core.splats.gaussians import SH_C0, Gaussians
from loquent.core.splats.ply import BoundSplats, about_ply, read_bound_ply, read_ply, write_bound_ply, write_ply
from loquent.core.splats.rasterize import Layers

# In the order of the Inria writer.
NAMES = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 {rest} opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
TYPES = {"float": "f4", "double": "f8", "uchar": "u1", "int": "i4"}
HEAD = "ply\nformat binary_little_endian 1.0\n"


def some(count: int = 20, degree: int = 3, seed: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    return Gaussians(
        means=rng.normal(0, 1, (count, 3)).astype(np.float32),
        quats_wxyz=rng.normal(0, 1, (count, 4)).astype(np.float32),
        scales=np.exp(rng.uniform(-9, -2, (count, 3))).astype(np.float32),
        opacities=rng.random(count).astype(np.float32),
        harmonics=rng.normal(0, 0.5, (count, (degree + 1) ** 2, 3)).astype(np.float32),
    )


def names(degree: int = 0) -> list[str]:
    return NAMES.format(rest=" ".join(f"f_rest_{i}" for i in range(3 * ((degree + 1) ** 2 - 1)))).split()


def columns(count: int = 5, degree: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(-3, 1, count).astype(np.float32) for name in names(degree)}


def ply_bytes(data: dict[str, np.ndarray], encoding: str = "binary_little_endian", types=None, end="\n") -> bytes:
    """A .ply written in another way than the product's: the slow twin of the writer."""
    types = types or {}
    lines = ["ply", f"format {encoding} 1.0", "comment made by a test", f"element vertex {len(data['x'])}"]
    lines += [f"property {types.get(name, 'float')} {name}" for name in data]
    head = (end.join([*lines, "end_header"]) + end).encode()
    if encoding == "ascii":
        rows = zip(*data.values(), strict=True)
        return head + "".join(" ".join(repr(float(v)) for v in row) + end for row in rows).encode()
    order = ">" if "big" in encoding else "<"
    row = np.dtype([(name, order + TYPES[types.get(name, "float")]) for name in data])
    table = np.zeros(len(data["x"]), row)
    for name, column in data.items():
        table[name] = column
    return head + table.tobytes()


@pytest.fixture
def put(tmp_path):
    def write(content: bytes):
        (tmp_path / "head.ply").write_bytes(content)
        return tmp_path / "head.ply"

    return write


# ---- laws


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_gaussians_come_back_from_their_file(tmp_path, degree):
    before = some(degree=degree)
    write_ply(before, tmp_path / "a.ply", linear=False)
    after = read_ply(tmp_path / "a.ply", linear=False)
    for part in ("means", "quats_wxyz", "harmonics"):  # bit by bit
        assert np.array_equal(getattr(after, part), getattr(before, part)), part
        assert getattr(after, part).dtype == np.float32
    assert np.allclose(after.scales, before.scales, rtol=1e-6, atol=0)
    assert np.allclose(after.opacities, before.opacities, rtol=0, atol=2e-7)


def test_a_file_that_was_read_is_written_again_byte_for_byte(tmp_path, put):
    data = columns(50, degree=2)
    for zero in ("nx", "ny", "nz"):
        data[zero] = np.zeros(50, np.float32)
    for logarithm in ("opacity", "scale_0", "scale_1", "scale_2"):  # faint and below 10 cm: no digit is lost to exp
        data[logarithm] = -3 - np.abs(data[logarithm])
    path = put(ply_bytes(data))
    write_ply(read_ply(path, linear=False), tmp_path / "again.ply", linear=False)
    again = (tmp_path / "again.ply").read_bytes()
    assert again == path.read_bytes().replace(b"comment made by a test\n", b"")


def test_linear_gaussians_come_back_through_display_colours(tmp_path):
    before = some()
    write_ply(before, tmp_path / "a.ply")
    assert np.allclose(read_ply(tmp_path / "a.ply").harmonics, before.harmonics, atol=1e-5)


def test_opacities_of_exactly_zero_and_one_survive(tmp_path):
    before = replace(some(4), opacities=np.array([0, 1, 1e-7, 1 - 1e-7], np.float32))
    write_ply(before, tmp_path / "a.ply")
    assert np.allclose(read_ply(tmp_path / "a.ply").opacities, before.opacities, rtol=1e-6, atol=0)
    assert read_ply(tmp_path / "a.ply").opacities[:2].tolist() == [0, 1]


def test_a_display_colour_becomes_the_light_that_a_screen_makes_of_it(put):
    data = columns(3)
    data["f_dc_0"], data["f_dc_1"], data["f_dc_2"] = (((np.array(c, np.float32)) - 0.5) / SH_C0 for c in np.eye(3) / 2)
    colour = read_ply(put(ply_bytes(data))).harmonics[:, 0] * SH_C0 + 0.5
    assert np.allclose(colour, np.eye(3) * 0.21404114, atol=1e-6)  # IEC 61966-2-1 at one half


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (3, 16, 3), elements=st.floats(-3, 3, width=32)))
def test_display_and_linear_harmonics_are_inverses(harmonics):
    assert np.allclose(display_harmonics(linear_harmonics(harmonics)), harmonics, atol=2e-5)


def test_higher_degrees_follow_the_curve_to_first_order():
    small = some(30).harmonics * np.array([0.5, *[1e-3] * 15])[:, None]
    direction = np.random.default_rng(1).normal(0, 1, 15)
    brighter = small[:, :1].copy()
    brighter[:, 0] += np.einsum("k,nkc->nc", direction, small[:, 1:]) / SH_C0  # the same colour as degree 0 alone
    expected = linear_harmonics(brighter)[:, 0] * SH_C0
    linear = linear_harmonics(small)
    found = linear[:, 0] * SH_C0 + np.einsum("k,nkc->nc", direction, linear[:, 1:])
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.allclose(small[:, 1:], linear[:, 1:], rtol=0.05)


def test_drawing_then_converting_gives_the_light_of_what_a_screen_showed():
    rng = np.random.default_rng(0)
    alpha = rng.random((4, 5)).astype(np.float32)
    alpha[0, 0] = 0
    shown = rng.random((4, 5, 3)).astype(np.float32)
    light = linear_layers(Layers(shown * alpha[..., None], alpha, alpha))
    expected = np.where(shown > 0.04045, ((shown + 0.055) / 1.055) ** 2.4, shown / 12.92) * alpha[..., None]
    assert np.allclose(light.colour, expected, atol=1e-5)
    assert light.colour.dtype == np.float32 and light.alpha is alpha


# ---- what other programs write


@pytest.mark.parametrize("encoding", ["ascii", "binary_big_endian", "binary_little_endian"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_encoding_reads_the_same(put, encoding, end):
    data = columns(7, degree=1)
    g = read_ply(put(ply_bytes(data, encoding, end=end)), linear=False)
    assert np.array_equal(g.means, np.stack([data[n] for n in "xyz"], 1))
    assert np.array_equal(g.quats_wxyz, np.stack([data[f"rot_{i}"] for i in range(4)], 1))
    assert np.allclose(g.scales, np.exp(np.stack([data[f"scale_{i}"] for i in range(3)], 1)), rtol=1e-6)
    assert np.allclose(g.opacities, 1 / (1 + np.exp(-data["opacity"])), rtol=1e-6)
    rest = [[data[f"f_rest_{3 * channel + k}"] for channel in range(3)] for k in range(3)]  # channel by channel
    assert np.array_equal(g.harmonics, np.transpose([[data[f"f_dc_{c}"] for c in range(3)], *rest], (2, 0, 1)))


def test_order_types_and_unknown_properties_do_not_matter(put):
    data = columns(9)
    expected = read_ply(put(ply_bytes(data)))
    shuffled = {name: data[name] for name in np.random.default_rng(0).permutation(list(data))}
    shuffled = {"segment": np.arange(9), **shuffled, "weight": np.ones(9)}
    g = read_ply(put(ply_bytes(shuffled, types={"segment": "uchar", "x": "double", "weight": "int"})))
    for part in ("means", "quats_wxyz", "scales", "opacities", "harmonics"):
        assert np.array_equal(getattr(g, part), getattr(expected, part)), part


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_elements_before_and_after_the_vertices_are_passed_over(put, encoding):
    content = ply_bytes(columns(4), encoding)
    expected = read_ply(put(content))
    head, body = content.split(b"end_header\n")
    before = b"element camera 2\nproperty float focal\n"
    head = head.replace(b"element vertex", before + b"element vertex") + b"element face 1\nproperty list uchar int i\n"
    cameras = b"1.5\n2.5\n" if encoding == "ascii" else np.array([1.5, 2.5], np.float32).tobytes()
    g = read_ply(put(head + b"end_header\n" + cameras + body + b"\x03"))
    assert np.array_equal(g.means, expected.means)


def test_more_rows_than_one_block_are_read_and_written(tmp_path):
    before = some(2 * ply_table.BLOCK + 3, degree=0)
    write_ply(before, tmp_path / "a.ply", linear=False)
    assert np.array_equal(read_ply(tmp_path / "a.ply", linear=False).means, before.means)


def test_the_header_alone_tells_what_a_file_holds(tmp_path):
    write_ply(some(12, degree=2), tmp_path / "a.ply")
    about = about_ply(tmp_path / "a.ply")
    assert (about.count, about.degree, about.encoding, about.bound) == (12, 2, "binary_little_endian", False)


# ---- bound Gaussians


def bound(count: int = 10) -> BoundSplats:
    g = some(count, degree=1)
    return BoundSplats(
        Binding(np.arange(count, dtype=np.int32) % 2, g.means, g.quats_wxyz, g.scales), g.opacities, g.harmonics
    )


def test_bound_gaussians_come_back_and_ride_on_their_mesh(tmp_path):
    before = bound()
    write_bound_ply(before, tmp_path / "a.ply", linear=False)
    after = read_bound_ply(tmp_path / "a.ply", linear=False)
    assert np.array_equal(after.binding.triangles, before.binding.triangles)
    assert after.binding.triangles.dtype == np.int32
    assert np.array_equal(after.harmonics, before.harmonics)
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]], np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    for a, b in zip(carry(before.binding, vertices, faces), carry(after.binding, vertices, faces), strict=True):
        assert np.allclose(a, b, rtol=1e-5)
    assert about_ply(tmp_path / "a.ply").bound


def test_free_and_bound_files_are_told_apart(tmp_path):
    write_bound_ply(bound(), tmp_path / "bound.ply")
    write_ply(some(), tmp_path / "free.ply")
    with pytest.raises(FormatError, match="expected Gaussians in space, found Gaussians bound to triangles"):
        read_ply(tmp_path / "bound.ply")
    with pytest.raises(FormatError, match="property binding_0, found one without"):
        read_bound_ply(tmp_path / "free.ply")


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 3e9])
def test_a_binding_that_is_no_triangle_is_refused(put, wrong):
    data = columns(3) | {"binding_0": np.array([0, wrong, 1], np.float32)}
    with pytest.raises(FormatError, match=r"expected triangle numbers in binding_0, found .* at Gaussian 1"):
        read_bound_ply(put(ply_bytes(data)))


# ---- hostile files


def header(*lines: str, count: str = "3") -> bytes:
    properties = [f"property float {name}" for name in names()]
    return (HEAD + "\n".join([f"element vertex {count}", *properties, *lines, "end_header"]) + "\n").encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a .ply file, found a file that starts with b''"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "found a file that starts with"),
        (b"ply\n" + b"comment endless\n" * 20_000, "expected the .ply header to end within 65,536 bytes"),
        (b"ply\nformat ascii 1.0\nelement vertex 3\n", "found no 'end_header'"),
        (header().replace(b"1.0", b"2.0"), "one line 'format .*found: format binary_little_endian 2.0"),
        (header().replace(b"format binary_little_endian 1.0\n", b""), "found: no such line"),
        (header(count="0"), "holds 0 Gaussians; expected 1 to 8,000,000"),
        (header(count="1000000000"), "holds 1,000,000,000 Gaussians"),
        (header(count="9" * 400), "'element NAME COUNT'"),
        (header(count="-3"), "'element NAME COUNT'"),
        (header(count="٣"), "'element NAME COUNT'"),
        (header(count="7999999"), "promises 7,999,999 Gaussians, which take at least 544,000,349 bytes; found"),
        (header() + bytes(3 * 17 * 4 - 1), "cut short"),
        (header("property list uchar int faces"), "plain numbers in element 'vertex'.*list uchar int faces"),
        (header("property float x"), "every property once; found: 'x' twice"),
        (header("property quad w"), "'property TYPE NAME'; found: property quad w"),
        (header().replace(b"vertex", b"point"), "an element 'vertex'; found: none"),
        (header().replace(b"property float rot_2\n", b""), "rot_2 missing; found x, y, z"),
        (header("property float f_rest_0", "property float f_rest_1"), "expected f_rest_0 to f_rest_8.*found 2"),
        (header(*(f"property float f_rest_{i}" for i in range(1, 10))), "found 9 properties of that name"),
        (header("property uint packed_position"), "packed .ply of SuperSplat"),
        (HEAD.encode() + b"element big 99999999999999\nproperty double a\n" + header()[len(HEAD) :], "cut short"),
    ],
)  # fmt: skip
def test_a_hostile_header_gets_one_clear_answer(put, content, message):
    with pytest.raises(FormatError, match=message):
        read_ply(put(content))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["x", "opacity", "scale_1", "f_dc_2", "rot_3"])
def test_numbers_that_are_none_are_named(put, column, value):
    if column == "opacity" and np.isinf(value):
        pytest.skip("an opacity of 0 or 1, see test_splat_formats.py")
    data = columns(4)
    data[column][2] = value
    with pytest.raises(FormatError, match=f"expected finite numbers, found {column} = .* at Gaussian 2"):
        read_ply(put(ply_bytes(data)))


def test_numbers_too_large_for_floats_are_named(put):
    data = columns(4) | {"y": np.array([0, 1e300, 0, 0])}
    for encoding in ("binary_big_endian", "ascii"):
        with pytest.raises(FormatError, match="found y = inf at Gaussian 1"):
            read_ply(put(ply_bytes(data, encoding, types={"y": "double"})))
    data = columns(4) | {"scale_2": np.array([0, 0, 0, 500], np.float32)}
    with pytest.raises(FormatError, match="expected logarithms in scale_0 to scale_2, found 500 at Gaussian 3"):
        read_ply(put(ply_bytes(data)))


def test_colours_beyond_all_measure_stay_finite(put):
    data = columns(2, degree=1) | {"f_dc_0": np.array([3e38, -3e38], np.float32)}
    assert np.isfinite(read_ply(put(ply_bytes(data))).harmonics).all()


@pytest.mark.parametrize("damage", [b"1 2 3\n", b"one " * 17 + b"\n", b"7 " * 400_000])
def test_a_damaged_text_file_names_the_row(put, damage):
    lines = ply_bytes(columns(60), "ascii").splitlines(keepends=True)
    lines[-30] = damage
    with pytest.raises(FormatError, match="expected 17 numbers for Gaussian 30, found: "):
        read_ply(put(b"".join(lines)))


def test_a_header_that_lies_costs_no_memory(put):
    path = put(header(*(f"property double a{i}" for i in range(1000)), count="7999999"))
    tracemalloc.start()
    with pytest.raises(FormatError, match="promises"):
        read_ply(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6, peak


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]))
def test_any_damaged_file_is_read_or_refused_but_never_breaks(tmp_path_factory, seed, encoding):
    rng = np.random.default_rng(seed)
    content = bytearray(ply_bytes(columns(3), encoding))
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(len(content))] = rng.integers(256)
    path = tmp_path_factory.mktemp("fuzz") / "a.ply"
    path.write_bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content)
    try:
        assert len(read_ply(path)) == 3
    except FormatError as error:
        assert str(path) in str(error)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(FormatError, match=r"expected a \.ply file, found nothing there"):
        read_ply(tmp_path / "none.ply")
    with pytest.raises(FormatError, match="found a folder there"):
        about_ply(tmp_path)


def test_what_could_not_be_read_is_not_written(tmp_path):
    path = tmp_path / "a.ply"
    empty = replace(some(1), means=np.zeros((0, 3), np.float32))
    with pytest.raises(FormatError, match="expected at least one Gaussian"):
        write_ply(empty, path)
    nan = some()
    nan.scales[3, 1] = np.nan
    with pytest.raises(FormatError, match="found NaN or Inf in scales"):
        write_ply(nan, path)
    with pytest.raises(FormatError, match="expected at least one Gaussian, with"):
        write_ply(replace(some(), harmonics=np.zeros((20, 5, 3), np.float32)), path)
    assert not path.exists()
