largest_window: int
largest_field: int
remembered: int
lanes: int

def instruction_sets() -> list[str]: ...

# The fields of each job: kernels.hpp.
def fire(**job: float | str) -> None: ...
def fire_backward(**job: float | str) -> None: ...
def fire_max(**job: float | str) -> None: ...
def fire_max_backward(**job: float | str) -> None: ...
def hear(**job: float | str) -> None: ...
def hear_backward(**job: float | str) -> None: ...
def standardize(**job: float | str) -> None: ...
def standardize_backward(**job: float | str) -> None: ...
def sense(**job: float | str) -> None: ...
def sense_backward(**job: float | str) -> None: ...
def synapse(**job: float | str) -> None: ...
def take_events(
    *,
    events: int,
    count: int,
    record: int,
    fields: list[int],
    width: int,
    height: int,
    cells: int,
    frames: int,
    slots: int,
    frame_cells: int,
    binary: bool,
    remembered: int,
    oldest: int,
    origin: int,
    tick: int,
    start: int,
    until: int,
    largest: int,
    counts: int,
) -> int: ...

class Program:
    def __init__(self, layers: list[dict[str, object]], classes: int) -> None: ...
    def run(
        self,
        x: int,
        indices: int,
        count: int,
        offset: int,
        samples: int,
        seed: int,
        probabilities: int,
        entropy: int,
        expected_entropy: int,
        mutual_information: int,
        logits: int,
        instruction_set: str,
        threads: int,
    ) -> tuple[int, int]: ...

def limits(*, argument: int, count: int, limit: int, side: int, instruction_set: str) -> None: ...
def multiply_adds(*, least: int, instruction_set: str, threads: int) -> int: ...
