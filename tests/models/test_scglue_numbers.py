"""Numbers that scglue 0.4.1 computed for small inputs (sines of integers); ours must agree to float32."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.inputs.edges import Edges
from models.zoo.glue.decoders import NegativeBinomialDecoder
from models.zoo.glue.layers import DataEncoder, GraphEncoder
from models.zoo.glue.likelihoods import EPS, CountMatrix
from models.zoo.glue.propagation import Propagation

CPU = torch.device("cpu")
NLL = 1.6879329681396484
GRADIENTS = {
    "u": [
        0.03893965855240822, 0.0022359006106853485, -0.040800582617521286, -0.005911103915423155,
        0.016075866296887398, -0.007468739058822393, -0.06131128966808319, 0.06256450712680817,
        0.009239256381988525, -0.001010967418551445, 0.007785721682012081, -0.005469037219882011,
    ],
    "v": [
        0.04646729677915573, 0.06220351159572601, 0.020750099793076515, 0.01709313690662384,
        0.021559230983257294, 0.0062038712203502655, -0.12949532270431519, -0.19616398215293884,
        -0.08248039335012436, -0.030307944864034653, -0.02489243820309639, 0.003409056458622217,
        0.12365490198135376, 0.15813054144382477, 0.04722168296575546,
    ],
    "scale": [
        -0.007419303059577942, 0.001417358173057437, -0.006446205545216799, -0.02447180449962616,
        0.055547673255205154,
    ],
    "bias": [
        -0.033792492002248764, 0.14536964893341064, -0.2280907779932022, -0.06594908237457275,
        0.18246272206306458,
    ],
    "log_theta": [
        -0.02150634303689003, -0.0004666149616241455, 0.10131631046533585, 0.01681104302406311,
        0.022775964811444283,
    ],
}  # fmt: skip
EDGE_NORM = [
    0.6030226945877075, 0.40824827551841736, 0.6324555277824402, 0.3162277638912201, 0.5, 0.6324555277824402,
    0.6030226945877075, 0.8164965510368347, 0.45226702094078064,
]  # fmt: skip
VERTEX_MEAN = [
    -0.8014757037162781, 0.7446866035461426, -0.2459038496017456, -1.2636902332305908, 1.0127869844436646,
    -0.07738226652145386, 0.04305213689804077, -0.14776916801929474, -0.11278343200683594, 0.9822604656219482,
    -0.439823716878891, -0.7320581078529358,
]  # fmt: skip
VERTEX_STD = [
    0.2931554913520813, 1.5192312002182007, 0.4149143695831299, 0.2597958445549011, 1.5918349027633667,
    0.44441115856170654, 0.4228150546550751, 1.5239702463150024, 0.28645578026771545, 0.48340320587158203,
    1.3000507354736328, 0.2881236970424652,
]  # fmt: skip
CELL_MEAN = [
    -0.06903970241546631, -0.9275548458099365, -0.038425326347351074, -0.8314356803894043, -0.12803208827972412,
    -1.0107221603393555, -0.007842957973480225, -0.7846596240997314,
]  # fmt: skip
CELL_STD = [
    1.1364762783050537, 0.194118931889534, 1.1130969524383545, 0.18862533569335938, 1.0576626062393188,
    0.21506977081298828, 1.1501612663269043, 0.1790776401758194,
]  # fmt: skip


def sines(*shape: int, k: float) -> Tensor:
    n = int(np.prod(shape))
    return torch.tensor(np.sin(k * (1 + np.arange(n, dtype=np.float64))).reshape(shape), dtype=torch.float32)


def near(ours: Tensor, expected: list[float], tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(ours.detach().flatten().numpy(), expected, rtol=2e-5, atol=tolerance)


def test_decoder_value_and_gradients() -> None:
    x = np.array([[0, 1, 0, 3, 0], [2, 0, 0, 0, 1], [0, 0, 7, 0, 0], [1, 1, 1, 1, 1]], np.float32)
    decoder = NegativeBinomialDecoder(5, 1)
    with torch.no_grad():
        decoder.scale.copy_(sines(1, 5, k=3))
        decoder.bias.copy_(sines(1, 5, k=4))
        decoder.log_theta.copy_(sines(1, 5, k=5))
    u, v = sines(4, 3, k=1).requires_grad_(), sines(5, 3, k=2).requires_grad_()
    nll = decoder(u, v, CountMatrix.of(sp.csr_matrix(x), CPU).take(torch.arange(4)), 0)
    near(nll, [NLL])
    grads = torch.autograd.grad(nll, [u, v, decoder.scale, decoder.bias, decoder.log_theta])
    for ours, expected in zip(grads, GRADIENTS.values(), strict=True):
        near(ours, expected)


def small_graph() -> Edges:
    return Edges(
        np.array([0, 0, 1, 2, 3, 0, 1, 2, 3]), np.array([1, 2, 0, 0, 3, 0, 1, 2, 1]),
        np.array([1, 0.5, 1, 0.5, 0.25, 1, 1, 1, 0.75], np.float32),
        np.array([1, -1, 1, -1, 1, 1, 1, 1, -1], np.float32), 4,
    )  # fmt: skip


def test_edge_norm() -> None:
    norm = small_graph().norm
    expected = np.array(EDGE_NORM)
    expected[4] = 0.25 / 0.5  # in-degree 0.25
    np.testing.assert_allclose(norm, expected, rtol=1e-6)


def test_graph_encoder() -> None:
    encoder = GraphEncoder(Propagation(small_graph(), CPU), 3)
    with torch.no_grad():
        encoder.vertices.copy_(sines(4, 3, k=6))
        encoder.mean.weight.copy_(sines(3, 3, k=7))
        encoder.mean.bias.copy_(sines(3, k=8))
        encoder.spread.weight.copy_(sines(3, 3, k=9))
        encoder.spread.bias.copy_(sines(3, k=10))
        mean, raw = encoder()
    near(mean, VERTEX_MEAN)
    near(softplus(raw) + EPS, VERTEX_STD)


def test_data_encoder() -> None:
    encoder = DataEncoder([3, 4, 4], 2, 0.2)
    with torch.no_grad():
        for i, parameter in enumerate(encoder.parameters()):
            parameter.copy_(sines(*parameter.shape, k=11.0 + i))
        for i, buffer in enumerate(encoder.buffers()):
            if buffer.is_floating_point():
                buffer.copy_(sines(*buffer.shape, k=30.0 + i).abs() + 0.5)
        mean, raw = encoder.eval()(sines(4, 3, k=1))
    near(mean, CELL_MEAN)
    near(softplus(raw) + EPS, CELL_STD)
