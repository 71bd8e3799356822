"""Found, best strategy and full looked at closely: by class, and the texts that one has wrong."""

from autoprune.evidence.page.classes import SHOWN as CLASSES_SHOWN
from autoprune.evidence.page.classes import classes, confusion, f1_table, sizes
from autoprune.evidence.page.errors_apart import SHOWN, apart
from autoprune.evidence.page.parts import Errors, Matrices, Part, Plot, Section, Text
from autoprune.evidence.page.plots import by_class
from autoprune.evidence.page.runs import close, truth
from autoprune.evidence.studied import Studied


def classes_section(studied: Studied, id: str) -> Section:
    """Return F1 by class and the confusion matrices."""
    names, labels = studied.setting.labels, truth(studied)
    rows = sizes(labels, len(names))
    found = [classes(said, labels, len(names)) for said in close(studied)]
    plot = Plot(
        f"{id}-f1", "F1 by class", by_class(found, names, rows), f1_table(found, names, rows)
    )
    parts: list[Part] = [
        plot,
        Text(
            "Below, for what the rows of each class were taken: a row of the table is a true "
            "class, a column what was said, figures are per cent of the class's test rows over "
            "all seeds, shares below half a per cent are left blank."
        ),
        Matrices(tuple(confusion(one, names, rows) for one in found)),
    ]
    if len(names) > CLASSES_SHOWN:
        parts.append(Text(f"Shown are the {CLASSES_SHOWN} most frequent of {len(names)} classes."))
    return Section(f"{id}-classes", "Class by class", tuple(parts))


def errors_section(studied: Studied, id: str) -> Section:
    """Return the texts that only one of the entrants has wrong, or say why there are none."""
    title, everyone = "Errors that only one makes", close(studied)
    if not studied.texts:
        why = "The texts are left out: the task's data were not at hand when this was written."
        return Section(f"{id}-errors", title, (Text(why),))
    if len(everyone) < 2:
        return Section(f"{id}-errors", title, (Text("There is one entrant only."),))
    groups = apart(everyone, truth(studied), studied.test, studied.setting.labels)
    told = Text(
        "Test texts that one entrant has wrong in more than half of its seeds while the others "
        f"have them right; at most {SHOWN} each, the clearest first."
    )
    return Section(f"{id}-errors", title, (told, Errors(tuple(groups))))
