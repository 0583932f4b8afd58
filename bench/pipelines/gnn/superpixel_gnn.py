"""The graph arm: image -> superpixels -> graph -> classes of nodes -> painted mask. Without edges: the MLP control."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch_geometric.data import Data

from bench.arrays.heap import trim_after, trim_heap
from bench.arrays.protocols import Source, Writable
from bench.arrays.rows import release
from bench.config import Config, GraphConfig, SuperpixelGnnConfig, SuperpixelsConfig
from bench.datasets.sample import Sample, Task
from bench.graphs.build import warm_up_graph
from bench.learning.devices import autocast_to, choose_dtype, resolve_device, seed_everything
from bench.learning.fitlog import FitLog, Interval
from bench.learning.losses import class_weights, segmentation_loss
from bench.learning.rare import announce_rare, correct_sampling, find_rare
from bench.learning.training import Learner, train
from bench.pipelines.gnn import networks
from bench.pipelines.gnn.augment import find_response, jitter
from bench.pipelines.gnn.cache import Cache
from bench.pipelines.gnn.columns import count_stored, make_rows, release_columns, walk_rows
from bench.pipelines.gnn.deep import build_deep_features, build_deep_graphs, describe_random, leave_out_deep
from bench.pipelines.gnn.edge_ablation import ablate_edges, find_idle_edges
from bench.pipelines.gnn.graph import (
    SuperpixelGraph,
    build_sample_graphs,
    build_stored_graphs,
    is_large,
    store_graph,
)
from bench.pipelines.gnn.inputs import choose_targets, fix_inputs, list_graph, list_inputs
from bench.pipelines.gnn.items import Item, TrainingGraphs, paint_item, stack_views
from bench.pipelines.gnn.networks import Network, build_network, load_published_network
from bench.pipelines.gnn.onednn import choose_padding, disable_onednn
from bench.pipelines.gnn.parts import parts, warm_up_parts
from bench.pipelines.gnn.sampler import GraphSampler
from bench.pipelines.gnn.segmented import SegmentedSample, segment_sample
from bench.pipelines.in_memory import hold_small
from bench.pipelines.node_votes import collect_votes, show_painting
from bench.pipelines.painting import paint_by_bands, paint_probabilities
from bench.pipelines.scratch import warn_of_memory
from bench.scores.metrics import confusion_matrix, group_confusion, macro_dice
from bench.superpixels.views import group_views, list_views, warm_up_views

BAND_PIXELS = 1 << 24  # painted at once into a file of chunks


class SuperpixelGnn:
    """A pipeline (`bench.pipelines.protocol`) whose network is the one that `config.pipeline.model` asks for."""

    def __init__(self, config: Config, task: Task) -> None:
        assert isinstance(config.pipeline, SuperpixelGnnConfig)
        networks.check_network(config.pipeline.model)
        warm_up_views(config.superpixels, task.spatial_axes, task.in_channels, task.num_classes)
        warm_up_graph(task.spatial_axes, task.in_channels, leave_out_deep(config.graph))
        warm_up_parts()
        self.config, self.settings, self.task = config, config.pipeline, task
        self.device = resolve_device(config.device)
        self.dtype = self._choose_dtype()
        self.views = list_views(config.superpixels)
        self.deep = build_deep_features(config.graph, task, self.device)
        self.model: Network | None = None
        self.cache = Cache(self.views, config.graph, task, self._make_graphs, SuperpixelGraph)
        self.batch_rows = 0  # of a training batch, nodes and zeros
        if self.settings.jitter > 0:
            response = find_response(task.spatial_axes, task.in_channels, leave_out_deep(config.graph))
            self.response = response if self.deep is None else response.extend(self.deep.channels)

    def prepare(self, sample: Sample) -> Item:
        """Make the graph of the sample, or with `superpixels.views` several."""
        item = self._prepare_views(sample)
        trim_after(prod(sample.image.shape))
        return item

    def prepare_once(self, sample: Sample) -> Item | SegmentedSample:
        """Segment the sample; its graphs are made at once only for a cache, which keeps those of all views together."""
        if self.cache.folder is not None:
            return self.prepare(sample)
        place = self.config.graph.scratch_dir
        item = segment_sample(sample, self.views, place, partial(self._build_graphs, place=place))
        trim_after(prod(sample.image.shape))
        return item

    def _prepare_graphs(self, sample: Sample) -> list[SuperpixelGraph]:
        return [self._keep_graph(item) for item in self.cache.prepare(sample)]  # those from a cache are in memory yet

    def _make_graphs(
        self, sample: Sample, views: Sequence[SuperpixelsConfig], graph: GraphConfig, task: Task
    ) -> list[SuperpixelGraph]:
        return build_sample_graphs(sample, views, graph, task, self.deep, self._keep_graph, self.model is None)

    def _keep_graph(self, item: SuperpixelGraph) -> SuperpixelGraph:
        """Put a graph in a file if it waits there: for the other views of its image, or for a fit to begin."""
        waits = len(self.views) > 1 or self.model is None
        return store_graph(item, self.config.graph.scratch_dir) if waits else item

    def _prepare_views(self, sample: Sample) -> Item:
        if len(self.views) == 1:
            return self._prepare_graphs(sample)[0]
        large = is_large(sample.image.shape, self.views, self.model is None)
        if not large:
            sample = Sample(sample.name, np.asarray(sample.image), np.asarray(sample.mask))
        views = self._prepare_graphs(sample)
        return stack_views(views, sample.mask, large, self.config.graph.scratch_dir)

    def reduce_item(self, item: Item) -> TrainingGraphs:
        """Return the graphs of a training item: `fit` needs no segments, which take four bytes for each pixel."""
        return TrainingGraphs(item.graphs, item.facts)

    def fit(
        self,
        train_items: Sequence[Item | TrainingGraphs],
        val_items: Sequence[Item],
        earlier_seconds: float = 0.0,
    ) -> FitLog:
        """Train a new network; keep the weights with the best pooled macro Dice on the validation pixels.

        Args:
            train_items: What the network learns from.
            val_items: What chooses its weights.
            earlier_seconds: Seconds that earlier stages of the arm took, which the history counts too.

        Returns:
            The log of the fit.
        """
        started_ns = time.perf_counter_ns()
        seed_everything(self.config.seed, self.device)
        items = [data for item in train_items for data in item.graphs]
        if self.settings.weights is not None:
            return self._add_facts(self._load_published(self.settings.weights, items[0].num_features), items, val_items)
        self.model = self._build(items[0].num_features, items[0].edge_attr.shape[1])
        self.model.standardize(
            [data.x for data in items], [data.edge_attr for data in items], lambda: release_columns(*items)
        )
        trim_heap()
        self.model.to(self.device)
        pixels = torch.stack([data.y_counts[rows].sum(dim=0) for data in items for rows in walk_rows(data)]).sum(dim=0)
        rare = find_rare(pixels.numpy(), self.config.training.rare_share)
        announce_rare(self.settings.name, rare, pixels.numpy(), self.task.class_names)
        sampler = self.make_sampler(items, rare)
        self.batch_rows = sampler.most_nodes
        self.class_weights = self.weigh_classes(pixels.numpy(), sampler).to(self.device)
        with self.choose_library():
            learner = Learner(
                model=self.model,
                batches=sampler.draw_epoch,
                loss=self.compute_loss,
                validate=lambda: self._score(val_items),
                steps_per_epoch=len(sampler),
                validation_cost=self._validation_cost(sampler, val_items),
                fixed=fix_inputs(sampler, self._augment, self._compute_loss_of)
                if self.settings.model.allows_padding
                else None,
            )
            log = train(
                learner,
                self.config.training,
                self.settings,
                seed=self.config.seed,
                device=self.device,
                started_ns=started_ns,
                earlier_seconds=earlier_seconds,
            )
        trim_heap()
        log = replace(log, facts={**log.facts, "rare_classes": len(rare)})
        return self._add_facts(log, items, val_items)

    def predict(self, item: Item | SegmentedSample) -> NDArray[np.integer]:
        """Paint the classes of the nodes onto the pixels (*spatial)."""
        return paint_item(item, self.vote_nodes, self.config.graph.scratch_dir)

    def predict_into(self, image: Source, out: Writable, scratch: Path, progress: Callable[[float], None]) -> None:
        """Predict an image in bands, to the same bits as `predict`.

        In memory are the graph of one segmentation, what was pooled of those that share a walk over the image, and the
        class scores of the nodes of all.

        Args:
            image: (*spatial, C).
            out: (*spatial), receives class numbers.
            scratch: Folder for arrays as large as the image.
            progress: Called with the share done, in [0, 1].
        """
        segments, votes = self.predict_nodes(image, scratch, progress, lambda data, _: self.vote_nodes(data))
        paint_by_bands(votes, segments, out, BAND_PIXELS, show_painting(progress))

    def predict_probabilities(
        self, image: Source, mask: Writable, shares: Writable, scratch: Path, progress: Callable[[float], None]
    ) -> None:
        """Predict an image in bands, and its class probabilities, as `Probabilistic` describes it.

        Those of several segmentations are means of log p. The mask is that of `predict`, but where two classes are
        equally probable in single precision.

        Args:
            image: (*spatial, C).
            mask: Receives the classes (*spatial).
            shares: Receives the probabilities (K, *spatial).
            scratch: Folder for arrays as large as the image: superpixels, and the graphs of a large image.
            progress: Called with the share done, in [0, 1].
        """
        segments, votes = self.predict_nodes(image, scratch, progress, lambda data, _: self.score_nodes(data))
        paint_probabilities(votes, segments, mask, shares, BAND_PIXELS, show_painting(progress))

    def predict_nodes(
        self,
        image: Source,
        scratch: Path,
        progress: Callable[[float], None],
        vote: Callable[[Data, NDArray[np.int32]], NDArray[Any]],
    ) -> tuple[list[NDArray[np.int32]], list[NDArray[Any]]]:
        """Segment an image in each view, and apply `vote` to its graph.

        Args:
            image: (*spatial, C).
            scratch: Folder for arrays as large as the image.
            progress: Called with the share done, in [0, 0.9]: painting is the rest.
            vote: Makes of a graph and its segments (*spatial) what is painted of the nodes, (N, ...).

        Returns:
            Segments of each view, and their votes.
        """
        image = hold_small(image, str(scratch))
        groups = group_views(self.views, image.shape)
        return collect_votes(
            image, groups, scratch, progress, lambda segments: self._build_graphs(image, segments, str(scratch)), vote
        )

    def _build_graphs(self, image: Source, segments: Sequence[NDArray[np.int32]], place: str | None) -> Iterator[Data]:
        """Yield the graph of each segmentation; those of a large image lie in files, as in `open_scratch`."""
        if is_large(image.shape, self.views):
            return build_stored_graphs(image, segments, self.config.graph, self.deep, place)
        return build_deep_graphs(image, segments, self.config.graph, self.deep)

    def save(self, path: Path) -> None:
        """Write the `state_dict`, the statistics of the features included."""
        torch.save(self.get_model().state_dict(), path)

    def load(self, path: Path) -> None:
        """Take the weights that `save` wrote under the same configuration."""
        self.take_weights(torch.load(path, map_location=self.device, weights_only=True))

    def take_weights(self, weights: dict[str, Tensor]) -> None:
        """Take the `state_dict` of a network that was built under the same configuration."""
        if self.settings.model.conv == "jain2024":
            features, edge_dim = weights["conv_first.lin_rel.weight"].shape[1], 0
        else:
            features, edge_dim = len(weights["feature_mean"]), len(weights["edge_mean"])
        self.model = self._build(features, edge_dim).to(self.device).eval()
        self.model.load_state_dict(weights)

    def _load_published(self, weights: str, features: int) -> FitLog:
        """Take published weights instead of training."""
        self.model = load_published_network(Path(weights), features, self.task.num_classes)
        self.model.to(self.device)
        return FitLog(parameters=sum(weight.numel() for weight in self.model.parameters()))

    def _choose_dtype(self) -> torch.dtype:
        """Choose the type of the matrix products: on a CPU float32 for the networks that were not tried in bfloat16."""
        precision = self.settings.precision
        if precision == "auto" and self.device.type == "cpu" and not self.settings.model.allows_padding:
            return torch.float32
        return choose_dtype(precision, self.device, self.config.training.amp)

    def choose_library(self) -> AbstractContextManager[None]:
        """Return a context with the library of matrix products on a CPU: oneDNN in bfloat16, which no other one has."""
        return disable_onednn() if self.dtype is torch.float32 else nullcontext()

    def _build(self, in_channels: int, edge_dim: int) -> Network:
        return build_network(self.settings.model, in_channels, self.task.num_classes, edge_dim)

    def get_model(self) -> Network:
        """Return the network; there is none before `fit` or `load`."""
        if self.model is None:
            raise RuntimeError("this pipeline has no model yet: fit or load it first")
        return self.model

    def _add_facts(self, log: FitLog, items: Sequence[Data], val_items: Sequence[Item]) -> FitLog:
        """The log with what lies in files rather than in memory, and with what the edges do."""
        graphs = [*items, *(graph for item in val_items for graph in item.graphs)]
        segments = sum(item.segments.nbytes for item in val_items if isinstance(item.segments, np.memmap))
        stored = sum(map(count_stored, graphs)) + segments
        flags = (*log.flags, *warn_of_memory(self.config.graph.scratch_dir, stored))
        return self._add_edge_ablation(
            replace(log, facts={**log.facts, "stored_bytes": stored}, flags=flags), val_items
        )

    def _add_edge_ablation(self, log: FitLog, val_items: Sequence[Item]) -> FitLog:
        """The log with flags, and what the edges do on each view of the validation images, a phase of its own."""
        log = replace(log, flags=(*log.flags, *describe_random(self.config.graph)))
        start_ns = time.perf_counter_ns()
        graphs_seen = [view.data for item in val_items for view in item.views]
        facts = ablate_edges(self.get_model(), graphs_seen, self.classify_nodes)
        if not facts:
            return log
        inspected = Interval("inspect", start_ns, time.perf_counter_ns())
        log = replace(log, facts={**log.facts, **facts}, intervals=(*log.intervals, inspected))
        return replace(log, flags=(*log.flags, *find_idle_edges(facts)))

    def make_sampler(self, graphs: Sequence[Data], rare: NDArray[np.intp]) -> GraphSampler:
        """Make the sampler of training batches, which shows rare classes more often than they occur."""
        return GraphSampler(graphs, self.settings.batch_nodes, self.config.seed, rare)

    def weigh_classes(self, counts: NDArray[np.int64], sampler: GraphSampler) -> Tensor:
        """Return the weights (K,) of the cross-entropy, from the pixels (K,) of each class in the training graphs.

        Windows with rare classes are shown more often than others; the weights make up for it.
        """
        weights = class_weights(counts, self.config.training.class_weights)
        return weights if len(sampler.rare) == 0 else correct_sampling(weights, counts, sampler.expect_pixels())

    def _validation_cost(self, sampler: GraphSampler, val_items: Sequence[Item]) -> float:
        """Cost of predicting `val_items` in optimiser steps: a step takes about three times a forward pass."""
        nodes = sampler.num_nodes / len(sampler)
        return sum(int(view.data.x.shape[0]) for item in val_items for view in item.views) / (3 * nodes)

    def _logits(self, inputs: Sequence[Tensor], usual: int = 0) -> Tensor:
        """Logits (N, K) of features and edges on the device; oneDNN gets `usual` rows of no more, the rest zeros."""
        x, *edges = inputs
        count = len(x)
        if self.dtype is not torch.float32 and self.device.type == "cpu":
            x = functional.pad(x, (0, 0, 0, choose_padding(count, usual)))
        with autocast_to(self.device, self.dtype):
            logits: Tensor = self.get_model()(x, *edges)
        return logits[:count]

    def _move(self, values: Sequence[Tensor]) -> list[Tensor]:
        return [value.to(self.device) for value in values]  # `Data.to` would move the graph itself

    def compute_loss(self, batch: Data) -> Tensor:
        """Return the loss of a graph, or of several in one."""
        return self._compute_loss_of(self._move(self._augment(batch)))

    def _augment(self, batch: Data) -> list[Tensor]:
        """Return what a step takes of a batch, on the host, as a random change of the image would have it."""
        return list_inputs(jitter(batch, self.settings.jitter, self.response) if self.settings.jitter > 0 else batch)

    def _compute_loss_of(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the loss of what `list_inputs` returned, on the device."""
        *graph, counts = inputs
        return segmentation_loss(
            self._logits(graph, self.batch_rows),
            *choose_targets(counts, self.settings.targets),
            self.class_weights,
            cross_entropy_weight=self.config.training.cross_entropy_weight,
            dice_weight=self.config.training.dice_weight,
        )

    def vote_nodes(self, data: Data) -> NDArray[Any]:
        """Return what is painted of a graph: the classes of its nodes (N,), or log p (N, K) of one of several views.

        Classes have the smallest type that holds them, as the mask will. The mean of log p did better on validation
        than that of p, by 0.0001 to 0.0016 Dice on each of three sets.
        """
        return self.classify_nodes(data) if len(self.views) == 1 else self.score_nodes(data)

    def score_nodes(self, data: Data) -> NDArray[np.float32]:
        """Return log p of each class (N, K) of each node."""
        scores = make_rows(data, len(data.x), np.float32, (self.task.num_classes,))
        return self._fill_nodes(scores, data, lambda logits: logits.float().log_softmax(dim=1))

    def classify_nodes(self, data: Data) -> NDArray[np.integer]:
        """Return the class of each node (N,), in the smallest type that holds them."""
        classes = make_rows(data, len(data.x), self.task.mask_dtype)
        return self._fill_nodes(classes, data, lambda logits: logits.argmax(dim=1))

    def _fill_nodes(self, out: NDArray[Any], data: Data, of: Callable[[Tensor], Tensor]) -> NDArray[Any]:
        """`out` (N, ...) filled with `of` the logits, of a graph of more than `predict_nodes` nodes part by part."""
        model, nodes = self.get_model(), self.settings.predict_nodes or len(out)
        with torch.inference_mode(), self.choose_library():
            for part in parts(data, nodes, model.hops, model.edge_columns):
                logits = self._logits(self._move(list_graph(part.data)))
                out[part.inner.numpy()] = of(logits).cpu().numpy()[part.kept.numpy()]
                release(out)
                release_columns(data)
        return out

    def _score(self, items: Sequence[Item]) -> float:
        """Pooled macro Dice on pixels, of what `predict` paints."""
        return macro_dice(np.sum([self._confusion(item) for item in items], axis=0))

    def _confusion(self, item: Item) -> NDArray[np.int64]:
        if isinstance(item, SuperpixelGraph):
            classes, counts = self.classify_nodes(item.data), item.data.y_counts.numpy()
            found = [group_confusion(counts[rows], classes[rows]) for rows in walk_rows(item.data, classes)]
            return np.asarray(np.sum(found, axis=0))
        return confusion_matrix(item.mask, self.predict(item), self.task.num_classes, self.task.ignore_index)
