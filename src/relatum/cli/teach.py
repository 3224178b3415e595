"""``relatum teach``: train one network alone, to be a teacher or a baseline."""

from typing import Annotated

import typer

from relatum.cli import options, places, profiling, tracking, training


def teach(
    dataset: options.Dataset = None,
    data: options.DatasetToo = None,
    model: Annotated[
        str | None, typer.Option(help="The network (relatum list models). [default: the set's]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of initialisation, order and augmentation.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="[default: the set's]")] = None,
    scale: options.Scale = 1.0,
    set_: options.Set = None,
    out: options.Out = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    data_root: options.DataRoot = None,
    skip_broken: options.SkipBroken = False,
    download: options.Download = False,
    device: options.Device = "auto",
    speed: options.Speed = None,
    precision: options.Precision = None,
    batch: options.Batch = None,
    microbatch: options.Microbatch = None,
    sync_batchnorm: options.SyncBatchnorm = False,
    patience: options.Patience = options.PATIENCE,
    track: tracking.Track = None,
    profile: profiling.Profile = False,
    profile_steps: profiling.Steps = None,
) -> None:
    """Train one network alone; its folder is then a --teacher for 'relatum distill'."""
    from relatum.checkpoint import stop_on_signals
    from relatum.cli.display import shown
    from relatum.recipes.standard import standard
    from relatum.report.page import write_report
    from relatum.run import run
    from relatum.run.sizes import settled

    recipe = options.changed(
        standard(options.dataset_of(dataset, data) or "digits", teacher=model)[0],
        seed=seed,
        epochs=epochs,
        data_root=str(data_root) if data_root else None,
        skip_broken=skip_broken or None,
        speed=speed,
        precision=precision,
        batch_size=batch,
        microbatch=microbatch,
        sync_batchnorm=sync_batchnorm or None,
    ).but(**options.changes_of(set_, ("scale",)))
    recipe = settled([recipe.scaled(scale)])[0]
    network = recipe.student
    name, end = network.replace("/", "-"), f"-seed-{seed}"
    folder = out or places.usual(network, name, recipe.dataset, "teach-", end)
    place = options.device_of(device)
    with (
        profiling.profiling(profile, profile_steps),
        training.company(place, patience) as company,
        stop_on_signals(company.stop) as stop,
        shown(1) as display,
    ):
        company.announce(display, [recipe])
        resume, overwrite = company.claims(resume, overwrite)
        run(
            recipe,
            folder,
            label="teacher",
            device=place,
            resume=resume,
            overwrite=overwrite,
            download=download,
            stop=stop,
            display=display,
            track=tracking.trackers(track),
        )
    if company.first:
        write_report(folder)
        typer.echo(f"{folder}: use it by --teacher {folder}")
