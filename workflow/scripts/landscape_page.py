"""Make the page of planes that turn; of one plane, the file for ParaView too."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.figures import landscape_page
    from perturb.landscape.files import read_plane
    from perturb.landscape.vtk import write_vti

    planes = [read_plane(path) for path in snakemake.input]
    landscape_page.write(planes, snakemake.output.page, snakemake.params.get("scale", ""))
    if "vti" in snakemake.output.keys():
        write_vti(planes[0], snakemake.output.vti)
