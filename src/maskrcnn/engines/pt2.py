DESCRIPTION="maskrcnn.json"
class FileError(ValueError): pass
def check(path): pass
def read_description(path):
    import zipfile
    with zipfile.ZipFile(path) as f: return f.read(next(n for n in f.namelist() if n.endswith("/extra/"+DESCRIPTION))).decode()
