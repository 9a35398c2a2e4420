def instruction_sets() -> list[str]: ...
def fire(
    *,
    u: int,
    z: int,
    scale: int,
    shift: int,
    rows: int,
    inputs: int,
    positions: int,
    channels: int,
    samples: int,
    u_stride: int,
    seed: int,
    place: int,
    bfloat16: bool,
    position_last: bool,
    shared: bool,
    instruction_set: str,
    threads: int,
) -> None: ...
def fire_backward(
    *,
    grad: int,
    u: int,
    grad_u: int,
    scale: int,
    shift: int,
    by_scale: int,
    by_shift: int,
    inputs: int,
    samples: int,
    u_stride: int,
    outer: int,
    inner: int,
    bfloat16: bool,
    straight_through: bool,
    by_run: bool,
    instruction_set: str,
    threads: int,
) -> None: ...

class Program:
    def __init__(self, layers: list[dict[str, object]], classes: int) -> None: ...
    def run(
        self,
        x: int,
        indices: int,
        count: int,
        samples: int,
        seed: int,
        results: int,
        logits: int,
        instruction_set: str,
        threads: int,
        classes: int,
    ) -> tuple[int, int]: ...

def limits(*, argument: int, count: int, limit: int, side: int, instruction_set: str) -> None: ...
