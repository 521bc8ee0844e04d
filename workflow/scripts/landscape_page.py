"""Make the page that turns and the file for ParaView of one plane."""

from perturb.jobs.forkserver import hand_over

hand_over()

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.figures import landscape_page
    from perturb.landscape.files import read_plane
    from perturb.landscape.vtk import write_vti

    plane = read_plane(snakemake.input[0])
    landscape_page.write(plane, snakemake.output.page)
    write_vti(plane, snakemake.output.vti)
