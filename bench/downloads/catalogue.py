"""The public data sets that are known by name: where their files are, their hashes, licence and citation.

A set costs one entry here, a function in `bench.downloads.conversions` and a YAML file in `conf/dataset`. A hash is one
that was computed from the published content or published by others, as `trust` says; it is never made up. Where none is
known it is None: the first download is then taken as the truth, and later ones must equal it.
"""

from dataclasses import dataclass
from pathlib import Path

REGISTRIES = Path(__file__).with_name("registries")


@dataclass(frozen=True)
class RemoteFile:
    """A file to be fetched: `name` below the cache (with `/`), its address, and its SHA-256 where known."""

    name: str
    url: str
    sha256: str | None


@dataclass(frozen=True)
class Commit:
    """Files of a commit of a public GitHub repository, whose content can never change.

    Attributes:
        repository: Owner and name.
        commit: Its hash.
        registry: A file of `REGISTRIES` with a line `path SHA-256` for each file.
    """

    repository: str
    commit: str
    registry: str

    def list_files(self) -> tuple[RemoteFile, ...]:
        """Return the files that the registry lists."""
        base = f"https://raw.githubusercontent.com/{self.repository}/{self.commit}"
        lines = (REGISTRIES / self.registry).read_text(encoding="utf-8").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines)
        return tuple(RemoteFile(name, f"{base}/{name}", digest) for name, digest in pairs)


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: Key of `CATALOGUE`, and of its YAML file.
        origin: What is fetched.
        convert: Name of its function in `bench.downloads.conversions`.
        class_names: Names of the classes, background first.
        licence: The licence's name.
        citation: What to cite.
        source: Page of the data set.
        trust: Where the hashes are from.
        rule: How images were split.
        space: Bytes that download and conversion need on the disk, at most about.
        caution: What limits the meaning of results, if anything.
    """

    name: str
    origin: Commit | tuple[RemoteFile, ...]
    convert: str
    class_names: tuple[str, ...]
    licence: str
    citation: str
    source: str
    trust: str
    rule: str
    space: int
    caution: str = ""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """What is fetched, file by file."""
        return self.origin.list_files() if isinstance(self.origin, Commit) else self.origin


BBBC = "https://data.broadinstitute.org/bbbc/BBBC010"
BY_COMMIT = "SHA-256 of each file, computed from the content of the named commit"
CATALOGUE: dict[str, PublicSet] = {
    entry.name: entry
    for entry in (
        PublicSet(
            name="nist_phase_colony",
            origin=Commit(
                "usnistgov/semantic-segmentation-unet",
                "6c32132d6b641a33f968ee1aa583a425806a1cc6",
                "nist_phase_colony.txt",
            ),
            convert="convert_nist",
            class_names=("background", "cell"),
            licence="NIST notice (public service of NIST; keep the notice, acknowledge NIST)",
            citation="National Institute of Standards and Technology, usnistgov/semantic-segmentation-unet",
            source="https://github.com/usnistgov/semantic-segmentation-unet",
            trust=BY_COMMIT,
            rule="contiguous blocks of the sorted tile index",
            space=80_000_000,
        ),
        PublicSet(
            name="axondeepseg_sem",
            origin=Commit(
                "axondeepseg/data_axondeepseg_sem",
                "a4d02a1adec4bde04267baab3770e18f441afd73",
                "axondeepseg_sem.txt",
            ),
            convert="convert_axondeepseg",
            class_names=("background", "myelin", "axon"),
            licence="MIT",
            citation="Zaimi et al., AxonDeepSeg, Scientific Reports 8:3816 (2018), doi:10.1038/s41598-018-22181-4",
            source="https://github.com/axondeepseg/data_axondeepseg_sem",
            trust=BY_COMMIT,
            rule="by animal; the two largest images are the test set",
            space=80_000_000,
            caution="10 images of 8 rats, 2 of them for testing: differences of scores may be chance",
        ),
        PublicSet(
            name="dsb2018_fluo",
            origin=(
                RemoteFile(
                    "dsb2018.zip",
                    "https://github.com/stardist/stardist/releases/download/0.1.0/dsb2018.zip",
                    "e44921950edce378063aa4457e625581ba35b4c2dbd9a07c19d48900129f386f",
                ),
            ),
            convert="convert_dsb2018",
            class_names=("background", "nucleus"),
            licence="CC0 1.0",
            citation="Caicedo et al., Nature Methods 16:1247 (2019), doi:10.1038/s41592-019-0612-7 (BBBC038v1)",
            source="https://github.com/stardist/stardist/releases/tag/0.1.0",
            trust="SHA-256 of the archive as torch-em publishes it",
            rule="the published test images; every seventh of the others is for validation",
            space=1_000_000_000,
            caution="the images are tiles, and tiles of one field may lie in training and in test images",
        ),
        PublicSet(
            name="deepbacs_mixed",
            origin=(
                RemoteFile(
                    "DeepBacs_Data_Segmentation_StarDist_MIXED_dataset.zip",
                    "https://zenodo.org/record/5551009/files/DeepBacs_Data_Segmentation_StarDist_MIXED_dataset.zip"
                    "?download=1",
                    "2730e6b391637d6dc05bbc7b8c915fd8184d835ac3611e13f23ac6f10f86c2a0",
                ),
            ),
            convert="convert_deepbacs",
            class_names=("background", "bacterium"),
            licence="CC BY 4.0",
            citation="Spahn et al., DeepBacs, Communications Biology 5:688 (2022), doi:10.1038/s42003-022-03634-z",
            source="https://doi.org/10.5281/zenodo.5551009",
            trust="SHA-256 of the archive as torch-em publishes it",
            rule="the published test images; every seventh of the others is for validation",
            space=1_000_000_000,
            caution="three kinds of bacteria and of contrast in one set",
        ),
        PublicSet(
            name="bbbc010_worms",
            origin=(
                RemoteFile("BBBC010_v2_images.zip", f"{BBBC}/BBBC010_v2_images.zip", None),
                RemoteFile("BBBC010_v1_foreground_eachworm.zip", f"{BBBC}/BBBC010_v1_foreground_eachworm.zip", None),
            ),
            convert="convert_bbbc010",
            class_names=("background", "worm"),
            licence="CC0 1.0",
            citation="BBBC010v1, Fred Ausubel; Ljosa et al., Nature Methods 9:637 (2012), doi:10.1038/nmeth.2083",
            source="https://bbbc.broadinstitute.org/BBBC010",
            trust="no published hash: the first download is trusted, its SHA-256 kept and compared later",
            rule="by well: of five, three for training, one for validation, one for testing",
            space=1_000_000_000,
        ),
    )
}
