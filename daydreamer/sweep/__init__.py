"""`daydreamer sweep`: dry runs over seeds and values, as processes, in one folder, in one plot.

words.py     what is asked for: fixed words, values that vary, seeds
folder.py    FOLDER/sweep.yaml and sweep.json: what was asked for, how far each run is
runner.py    so many children at a time, until all are done
display.py   what people see meanwhile
summary.py   what people see at the end: a table and a picture
main.py      the command
"""
