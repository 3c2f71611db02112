"""The shape of the authors' CREMA-D loop, in plain PyTorch: what bss is compared with.

Every sample is decoded from its files (librosa, Pillow) in every pass; an epoch has three passes, each with a
DataLoader whose workers restart: measuring in train mode, training, testing. Single precision, weights and images in
torch's own memory layout.
"""

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.crema import CLASSES, HOP, N_FFT, SAMPLE_RATE, Shape
from bss.balance.criteria import prediction_similarity
from bss.models.network import MultiModalNetwork

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Sample = tuple[Tensor, Tensor, int, int]


class Folder(Dataset[Sample]):
    """The samples of one split as (log-spectrogram, image, label, index), decoded whenever they are asked for."""

    def __init__(self, root: Path, split: str, shape: Shape, augment: bool) -> None:
        with (root / "manifest.csv").open(encoding="utf-8") as file:
            self.rows = [row for row in csv.DictReader(file) if row["split"] == split]
        self.root, self.shape, self.augment = root, shape, augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = self.rows[index]
        sound = self.sound(self.root / row["audio"])
        image = self.image(self.root / row["image"])
        return torch.from_numpy(sound)[None], image, CLASSES.index(row["label"]), index

    def sound(self, path: Path) -> np.ndarray:
        """Return the log-spectrogram [257, frames] of the tiled sound."""
        samples, _ = librosa.load(path, sr=SAMPLE_RATE)
        length = round(self.shape.seconds * SAMPLE_RATE)
        tiled = np.tile(samples, math.ceil(length / len(samples)))[:length]
        tiled[tiled > 1.0] = 1.0
        tiled[tiled < -1.0] = -1.0
        spectrogram: np.ndarray = np.log(np.abs(librosa.stft(tiled, n_fft=N_FFT, hop_length=HOP)) + 1e-7)
        return spectrogram

    def image(self, path: Path) -> Tensor:
        """Return the image [3, crop, crop]: a random resized crop, perhaps mirrored, or all of it resized."""
        image, side = Image.open(path).convert("RGB"), self.shape.crop
        if self.augment:
            image = image.resize((side, side), Image.Resampling.BILINEAR, box=random_box(image.width, image.height))
            if torch.rand(()) < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        else:
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Draw the part of a random resized crop: 8 to 100 % of the area, width over height of 3/4 to 4/3."""
    for _ in range(10):
        area = width * height * torch.empty(()).uniform_(0.08, 1.0).item()
        ratio = math.exp(torch.empty(()).uniform_(math.log(3 / 4), math.log(4 / 3)).item())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = (int(torch.randint(0, free + 1, ())) for free in (width - w, height - h))
            return left, top, left + w, top + h
    return 0, 0, width, height


@dataclass(frozen=True)
class Epoch:
    """What an epoch of the loop reports."""

    seconds: float
    loss: float
    accuracy: float


def train(
    root: Path, network: MultiModalNetwork, shape: Shape, epochs: int, batch_size: int, workers: int, seed: int
) -> list[Epoch]:
    """Train `network` (encoders, heads and fusion; their inputs are made here) as the authors' script does."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()
    data, test = Folder(root, "train", shape, True), Folder(root, "val", shape, False)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    measured = []
    for _ in range(epochs):
        started = time.perf_counter()
        sequence = draw_sequence(measure(network, data, batch_size, workers))
        loss = train_epoch(network, optimiser, Subset(data, sequence), batch_size, workers)
        accuracy = evaluate(network, test, batch_size, workers)
        measured.append(Epoch(time.perf_counter() - started, loss, accuracy))
    return measured


def device_of(network: MultiModalNetwork) -> torch.device:
    """Return where `network` is; batches follow it there."""
    return next(network.parameters()).device


def measure(network: MultiModalNetwork, data: Folder, batch_size: int, workers: int) -> np.ndarray:
    """Return the balance score [n] of a pass in train mode."""
    network.train()
    device = device_of(network)
    similarity, losses = np.zeros(len(data)), np.zeros(len(data))
    with torch.no_grad():
        for spectrogram, image, label, index in DataLoader(data, batch_size, num_workers=workers):
            outputs = network({"audio": spectrogram.to(device), "image": image.to(device)})
            similarity[index.numpy()] = prediction_similarity(outputs.logits).cpu().numpy()
            losses[index.numpy()] = network.loss(outputs, label.to(device)).cpu().numpy()
    return (similarity - similarity.min()) / np.ptp(similarity) - (losses - losses.min()) / np.ptp(losses)


def draw_sequence(score: np.ndarray) -> list[int]:
    """Draw all samples without replacement, with the scripts' probabilities."""
    weights = torch.from_numpy(1 + score + 0.01)
    drawn: list[int] = torch.multinomial(weights / weights.sum(), len(score)).tolist()
    return drawn


def train_epoch(
    network: MultiModalNetwork, optimiser: torch.optim.Optimizer, data: Dataset[Sample], batch_size: int, workers: int
) -> float:
    """Return the mean training loss of the epoch."""
    network.train()
    device = device_of(network)
    losses = []
    for spectrogram, image, label, _ in DataLoader(data, batch_size, num_workers=workers):
        inputs = {"audio": spectrogram.to(device), "image": image.to(device)}
        loss = network.loss(network(inputs), label.to(device))
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        losses += loss.tolist()
    return float(np.mean(losses))


def evaluate(network: MultiModalNetwork, data: Folder, batch_size: int, workers: int) -> float:
    """Return the accuracy."""
    network.eval()
    device = device_of(network)
    right = 0
    with torch.no_grad():
        for spectrogram, image, label, _ in DataLoader(data, batch_size, num_workers=workers):
            scores = network.scores(network({"audio": spectrogram.to(device), "image": image.to(device)}))
            right += int((scores.argmax(dim=1).cpu() == label).sum())
    return right / len(data)
