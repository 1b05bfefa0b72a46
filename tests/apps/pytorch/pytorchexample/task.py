"""pytorchexample: A Flower / PyTorch app."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """A small multilayer perceptron for 8x8 images of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the logits of the ten digits."""
        return self.fc2(torch.relu(self.fc1(x)))


def load_data(
    partition_id: int, num_partitions: int, batch_size: int
) -> tuple[DataLoader, DataLoader]:
    """Load one partition of the digits, split into 80 % train and 20 % test."""
    digits = load_digits()
    images = torch.tensor(digits.data[partition_id::num_partitions] / 16).float()
    labels = torch.tensor(digits.target[partition_id::num_partitions]).long()
    cut = int(0.8 * len(labels))
    trainset = TensorDataset(images[:cut], labels[:cut])
    testset = TensorDataset(images[cut:], labels[cut:])
    trainloader = DataLoader(trainset, batch_size=batch_size, shuffle=True)
    return trainloader, DataLoader(testset, batch_size=batch_size)


def load_centralized_dataset() -> DataLoader:
    """Load all digits, for evaluation on the server."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16).float()
    return DataLoader(TensorDataset(images, torch.tensor(digits.target)), batch_size=128)


def train(
    net: nn.Module,
    trainloader: DataLoader,
    epochs: int,
    lr: float,
    device: torch.device,
) -> float:
    """Train the model on the training set."""
    net.to(device)  # move model to GPU if available
    criterion = torch.nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    running_loss = 0.0
    for _ in range(epochs):
        for images, labels in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


def test(
    net: nn.Module, testloader: DataLoader, device: torch.device
) -> tuple[float, float]:
    """Validate the model on the test set."""
    net.to(device)
    criterion = torch.nn.CrossEntropyLoss()
    correct, loss = 0, 0.0
    net.eval()
    with torch.no_grad():
        for images, labels in testloader:
            outputs = net(images.to(device))
            loss += criterion(outputs, labels.to(device)).item()
            correct += (outputs.argmax(1) == labels.to(device)).sum().item()
    return loss / len(testloader), correct / len(testloader.dataset)
