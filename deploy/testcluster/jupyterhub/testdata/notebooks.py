"""notebooks.py NOTEBOOK...: runs the notebooks one after the other, each in a new
kernel, as "Run all" does, and prints the text that their cells show."""

import sys

import nbclient
import nbformat

for file in sys.argv[1:]:
    notebook = nbformat.read(file, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") != "stderr":
                print(output.get("text") or output.get("data", {}).get("text/plain", ""))
