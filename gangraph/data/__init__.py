"""Where samples come from: folders, archives, torchvision, random draws and the embedded world."""
