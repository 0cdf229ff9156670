"""Colour-blind safe palette."""

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/; Wong, Nature Methods 8, 441, 2011), without black.
OKABE_ITO = {
    'orange': '#e69f00',
    'sky blue': '#56b4e9',
    'green': '#009e73',
    'yellow': '#f0e442',
    'blue': '#0072b2',
    'vermilion': '#d55e00',
    'purple': '#cc79a7',
}
