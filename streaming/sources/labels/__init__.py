"""Labels of pictures: from folders, file names or files; what is wrong with them."""
