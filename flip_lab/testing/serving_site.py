"""A site with models, as a hub would have delivered them: for tests of what asks it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import safetensors.torch
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import nn

from flip_lab.core.clock import now_s
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.input_schema import InputSchema
from flip_lab.node.serving.manifest import Manifest, SignedManifest, sign_manifest
from flip_lab.node.serving.shelf import Shelf


def arrays_of(of: str, seed: int) -> dict[str, torch.Tensor]:
    """Give arrays of a scenario's model, drawn from a seed.

    Args:
        of: Name of the scenario.
        seed: The same arrays for the same one.
    """
    chosen = load_scenario(of)
    model = build_model(chosen, load_dataset(chosen.data.dataset))
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(array.shape, generator=draw) / 10
        for name, array in model.state_dict().items()
    }


@dataclass
class ServingSite:
    """A node's directory, and what its hub would send.

    Attributes:
        config: The node's settings.
        key: The hub's signing key.
        number: Of the last delivery.
    """

    config: NodeConfig
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    number: int = 0

    @property
    def shelf(self) -> Shelf:
        """The node's models, as another process sees them."""
        return Shelf(self.config.models, self.key.public_key())

    def manifest(self, content: bytes, of: str, **changes: Any) -> Manifest:  # noqa: ANN401  # values of a manifest
        """Give what a hub says of a file; each one has a new number.

        Args:
            content: The file.
            of: Name of the scenario that its arrays belong to.
            **changes: Other values of the manifest.
        """
        self.number += 1
        chosen = load_scenario(of)
        data = load_dataset(chosen.data.dataset)
        schema = InputSchema(
            dataset=chosen.data.dataset,
            shape=data.shape,
            feature_names=data.feature_names,
            class_names=data.class_names,
            is_prepared_per_site=data.prepare is not None,
        )
        manifest = Manifest(
            delivery=self.number,
            action="install",
            name="model",
            version=1,
            stage="production",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            time_s=now_s(),
            delivered_by="ada",
            scenario=scenario_to_json(chosen),
            lineage={"run_id": "261122-091500-q7xd"},
            input_schema=schema.plain(),
        )
        return replace(manifest, **changes)

    def signed(self, manifest: Manifest) -> SignedManifest:
        """Sign as the hub does."""
        return sign_manifest(manifest, self.key)

    def deliver(
        self,
        version: int,
        *,
        of: str = "digits-iid",
        **changes: Any,  # noqa: ANN401  # values of a manifest
    ) -> Manifest:
        """Put a version on the shelf, with arrays drawn from its number.

        Args:
            version: The version.
            of: Name of the scenario.
            **changes: Other values of the manifest.
        """
        content = safetensors.torch.save(arrays_of(of, version))
        manifest = self.manifest(content, of, version=version, **changes)
        shelf = self.shelf
        shelf.draft().with_name(f"{manifest.sha256}.safetensors").write_bytes(content)
        shelf.install(self.signed(manifest))
        return manifest

    def model(self, version: int, *, of: str = "digits-iid") -> nn.Module:
        """Give the model itself, to compare answers with."""
        chosen = load_scenario(of)
        model = build_model(chosen, load_dataset(chosen.data.dataset))
        model.load_state_dict(arrays_of(of, version))
        return model.eval()
