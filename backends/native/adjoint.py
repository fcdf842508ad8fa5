class Adjoint:
    def __init__(self, kernel): ...
    def body(self):
        return []
