"""The pictures that a checkpoint was trained with, for tasks that go on from it."""

from typing import TYPE_CHECKING, Any

from fpcn_lightning import build
from fpcn_lightning.errors import UserError

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule


def own_pictures(section: dict[str, Any], record: dict[str, Any]) -> "RockDataModule":
    """The pictures of the training, perhaps in another folder by now, on the sides that they had then.

    Args:
        section: `data` of the config at hand, of which the folder, the cache and the workers count.
        record: of the checkpoint.

    Raises:
        UserError: they are gone, or are not those that it was trained with.
    """
    options = {**record["data"], "cache": section["cache"], "workers": section["workers"]}
    if section["root"] is not None:
        options |= {"root": section["root"], "synthetic": None}
    data = build.datamodule({**options, "classes": record["classes"]}, record["seed"])
    data.prepare_data()
    if data.split.fingerprint != record["split"]:
        raise UserError(
            f"the pictures in {options['root'] or 'data.synthetic'} are not those that the checkpoint was trained with "
            f"(split {data.split.fingerprint}, not {record['split']}), so that its test pictures cannot be told from "
            "the others: give the folder as it was then, data.root=PHOTOS."
        )
    return data
